//! Hostile bytes of a peer never do harm, and what is accepted has one spelling.

#![no_main]

use dse::cluster::wire::frame::Incoming;
use dse::cluster::wire::handshake::{Greeting, Handshake, VERSIONS};
use dse::cluster::wire::message::Message;
use dse::cluster::wire::raft::{put_message, take_message};
use dse::util::wire::Source;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    match choice % 4 {
        0 => {
            let mut source = Source::new(bytes);
            if let Some(message) = take_message(&mut source) {
                let mut again = Vec::new();
                put_message(&mut again, &message);
                assert!(again == bytes[..source.offset()]);
            }
        }
        1 => {
            let mut incoming = Incoming::default();
            for piece in bytes.chunks(usize::from(choice).max(1)) {
                incoming.receive(piece);
                while let Ok(Some(_)) = incoming.next_message() {}
            }
        }
        2 => {
            if let Ok(message) = Message::decode(bytes) {
                assert!(message.encode() == bytes);
            }
        }
        _ => {
            let name = String::from("one");
            let calls = String::from("two");
            let me = Greeting { cluster: 1, disk: 2, name, calls, versions: VERSIONS };
            let mut out = Vec::new();
            let mut handshake = match choice & 4 {
                0 => Handshake::answer(me, b"secret", [7; 32]),
                _ => Handshake::call(me, b"secret", [7; 32], &mut out),
            };
            for piece in bytes.chunks(usize::from(choice).max(1)) {
                if handshake.receive(piece, &mut out).is_err() {
                    break;
                }
            }
        }
    }
});
