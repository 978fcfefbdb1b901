//! Holds signed sessions: `idle-sessions ADDRESS USER PASSWORD SHARE COUNT`.
//! Says `ready` when all are there, and ends when it is ended.
#![allow(clippy::print_stdout, reason = "that is how it says so")]

use std::time::Duration;

use countersign_testkit::smb2::{Client, Logon, Offer};
use countersign_testkit::wire::TcpWire;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, user, password, share, count] = args.as_slice() else {
        eprintln!("usage: idle-sessions ADDRESS USER PASSWORD SHARE COUNT");
        std::process::exit(2);
    };
    let address = address.parse().expect("an address");
    let count: usize = count.parse().expect("a number");
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        let wire = TcpWire::connect(address, Duration::from_secs(20)).expect("a connection");
        let mut client = Client::new(wire);
        client.negotiate(Offer::dialect(0x0311)).expect("NEGOTIATE");
        let reply = client
            .logon(&Logon::new(user, password))
            .expect("SESSION_SETUP");
        assert!(!reply.status().is_error(), "{:?}", reply.status());
        let reply = client
            .tree_connect(&format!("\\\\server\\{share}"))
            .expect("TREE_CONNECT");
        assert!(!reply.status().is_error(), "{:?}", reply.status());
        held.push(client);
    }
    println!("ready {}", held.len());
    loop {
        std::thread::park();
    }
}
