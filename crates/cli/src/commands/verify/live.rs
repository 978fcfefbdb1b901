//! Captures of an interface, by another program.

use std::process::{Child, ChildStdout, Command, Stdio};

use countersign_verify::{CaptureError, Secrets, Verifier};

use super::{Checked, Unread, VerifyArguments, feed, finish};

/// Captures in another program, which may have the privilege that this one need
/// not have.
pub(super) fn live(
    arguments: &VerifyArguments,
    interface: &str,
    secrets: Secrets,
    results: &mut Vec<Checked>,
    errors: &mut Vec<Unread>,
) {
    let name = format!("live {interface}");
    let told = !arguments.json;
    let mut verifier = Verifier::new(secrets);
    let captured = capture(interface).and_then(|(mut child, output)| {
        let process = rustix::process::Pid::from_child(&child);
        // The end of the capture brings the report.
        on_interrupt(true, move || {
            let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
        });
        let read = feed(&mut verifier, output, told);
        let _ = child.kill();
        let status = child.wait().map_err(|e| e.to_string())?;
        read.map_err(|error| match error {
            CaptureError::Format(_) => format!("no capture ({status})"),
            other => other.to_string(),
        })
    });
    if let Err(error) = captured {
        let name = name.clone();
        errors.push(Unread { name, error });
    }
    if errors.is_empty() || verifier.packets() > 0 {
        let report = finish(verifier, told);
        results.push(Checked { name, report, told });
    }
}

/// The first Ctrl-C (`both`: or SIGTERM) does this; the second ends the program.
pub(super) fn on_interrupt(both: bool, first: impl FnOnce() + Send + 'static) {
    use tokio::signal::unix::{Signal, SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return };
    let signals = {
        let _inside = runtime.enter();
        signal(SignalKind::interrupt()).and_then(|interrupt| {
            let terminate = both.then(|| signal(SignalKind::terminate())).transpose()?;
            Ok((interrupt, terminate))
        })
    };
    let Ok((mut interrupt, mut terminate)) = signals else {
        return;
    };
    async fn either(interrupt: &mut Signal, terminate: &mut Option<Signal>) {
        match terminate {
            Some(terminate) => {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            }
            None => {
                interrupt.recv().await;
            }
        }
    }
    std::thread::spawn(move || {
        runtime.block_on(async move {
            either(&mut interrupt, &mut terminate).await;
            first();
            either(&mut interrupt, &mut terminate).await;
            std::process::exit(130);
        });
    });
}

fn capture(interface: &str) -> Result<(Child, ChildStdout), String> {
    let programs: [(&str, &[&str]); 2] = [
        (
            "dumpcap",
            &["-q", "-P", "-B", "64", "-f", "tcp", "-w", "-", "-i"],
        ),
        ("tcpdump", &["-U", "-s", "0", "-w", "-", "-i"]),
    ];
    for (program, options) in programs {
        let mut command = Command::new(program);
        command.args(options).arg(interface);
        if program == "tcpdump" {
            command.arg("tcp");
        }
        command.stdout(Stdio::piped()).stdin(Stdio::null());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(format!("{program}: {error}")),
        };
        let output = child.stdout.take();
        return output
            .map(|output| (child, output))
            .ok_or_else(|| format!("{program}: no output"));
    }
    Err(
        "neither dumpcap nor tcpdump is installed; pipe a capture in: \
         `ssh HOST tcpdump -U -w - tcp | countersign verify -`"
            .to_owned(),
    )
}
