//! Writes fuzzing seeds from the captures: `fuzz-seeds CAPTURES CORPUS`.

fn main() -> std::io::Result<()> {
    let mut args = std::env::args_os().skip(1);
    let (Some(captures), Some(corpus)) = (args.next(), args.next()) else {
        eprintln!("usage: fuzz-seeds CAPTURES CORPUS");
        std::process::exit(2);
    };
    let n = countersign_testkit::fuzz::write_seeds(captures.as_ref(), corpus.as_ref())?;
    println!("{n} seeds");
    Ok(())
}
