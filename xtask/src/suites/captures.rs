//! The kept captures verify to the counts that their manifest gives: the judge
//! of the other suites is itself judged.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use super::Context;
use crate::Res;
use crate::process::run as run_program;
use crate::report::Tally;
use crate::workspace;

pub(crate) fn run(tally: &mut Tally, context: &Context) -> Res<()> {
    tally.suite("captures");
    let Some(python) = context
        .peers
        .need_python(tally, "all captures", "Cryptodome")
    else {
        return Ok(());
    };
    let folder = workspace::testdata("captures");
    let manifest =
        std::fs::read_to_string(folder.join("manifest.tsv")).map_err(|e| e.to_string())?;
    let rows: Vec<Vec<&str>> = manifest
        .lines()
        .filter(|l| !l.starts_with('#') && !l.starts_with("capture\t"))
        .map(|l| l.split('\t').collect())
        .collect();
    let summary = workspace::scratch("captures")?.join("summary.json");
    let mut c = std::process::Command::new(python);
    c.arg(workspace::testdata("tools/verify.py"))
        .arg("--summary")
        .arg(&summary);
    c.args(
        rows.iter()
            .filter_map(|r| r.first())
            .map(|n| folder.join(n)),
    );
    let out = run_program(c, Duration::from_secs(300))?;
    if !out.ok() {
        return Err(format!("the verifier: {}", out.tail()));
    }
    let text = std::fs::read_to_string(&summary).map_err(|e| e.to_string())?;
    let got: HashMap<String, Value> = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    for row in rows {
        let [name, _, _, _, _, _, _, _, verified, bad, unsigned, ..] = row.as_slice() else {
            tally.fail("manifest", &format!("a short row: {row:?}"));
            continue;
        };
        let counts = got.get(name.trim_end_matches(".pcapng"));
        let count = |what: &str| counts.and_then(|v| v.get(what)).and_then(Value::as_u64);
        let want = |text: &&str| text.parse::<u64>().ok();
        let same = count("verified") == want(verified)
            && count("bad") == want(bad)
            && count("unsigned") == want(unsigned);
        tally.check(
            name,
            if same {
                Ok(())
            } else {
                Err(format!(
                    "counted {counts:?}, the manifest says {verified}/{bad}/{unsigned}"
                ))
            },
        );
    }
    Ok(())
}
