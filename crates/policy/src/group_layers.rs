//! What Group Policy says, in the order in which it applies.

use serde::{Deserialize, Serialize};

use crate::layers::{Layer, Layers};
use crate::settings::Settings;
use crate::source::{GpoRef, Source};

/// What one Group Policy object says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GpoLayer {
    /// The object and its link.
    pub gpo: GpoRef,
    /// Its values; what it does not name is not defined.
    pub settings: Settings,
    /// Since when it is in force here, seconds since 1970.
    pub since: Option<u64>,
    /// It says `[exceptions] allow = false`: no exception has any effect.
    #[serde(default)]
    pub forbid_exceptions: bool,
}

/// What all Group Policy objects of this machine say, weakest first: site, domain,
/// organisational units from the outermost inwards, then the enforced links, the
/// highest container last. The default is no Group Policy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupPolicyLayers {
    /// The objects, weakest first.
    pub objects: Vec<GpoLayer>,
}

impl GroupPolicyLayers {
    /// Puts them above the layers there are.
    pub fn push_onto(&self, layers: &mut Layers) {
        for object in &self.objects {
            let source = Source::GroupPolicy(object.gpo.clone());
            layers.push(Layer::new(source, object.settings, object.since));
            if object.forbid_exceptions {
                layers.forbid_exceptions();
            }
        }
    }

    /// No object says anything.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}
