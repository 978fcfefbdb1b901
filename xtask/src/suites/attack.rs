//! The short form of `cargo xtask attack`.

use super::Context;
use crate::Res;
use crate::attack;
use crate::report::Tally;

pub(crate) fn run(tally: &mut Tally, context: &Context) -> Res<()> {
    tally.suite("attack");
    if context
        .peers
        .need(tally, "all attacks", "smbclient")
        .is_none()
    {
        return Ok(());
    }
    attack::short(tally, &context.binary)
}
