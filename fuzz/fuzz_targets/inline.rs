//! Lines of words: splitting never fails badly, and quoting undoes it.

#![no_main]

use dse::resp::{ParseLimits, ProtocolError, Request, Step};
use dse::util::quote::{UnbalancedQuotes, quoted, split_args};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    // Any bytes survive being quoted.
    assert_eq!(split_args(quoted(line).as_bytes()), Ok(vec![line.to_vec()]));

    let args = split_args(line);
    if let Ok(args) = &args {
        let again: Vec<String> = args.iter().map(|arg| quoted(arg)).collect();
        assert_eq!(split_args(again.join(" ").as_bytes()).as_ref(), Ok(args));
    }

    // As an inline request the line gives the same words.
    if line.contains(&b'\n') || line.first() == Some(&b'*') {
        return;
    }
    let mut request = Request::new();
    let sent = [line, b"\r\n"].concat();
    let step = request.parse(&sent, &ParseLimits::default());
    match args {
        Err(UnbalancedQuotes) => {
            assert_eq!(step, Step::Error(ProtocolError::UnbalancedQuotes));
        }
        Ok(words) if words.is_empty() => assert_eq!(step, Step::Empty),
        Ok(words) => {
            assert_eq!(step, Step::Complete);
            assert_eq!(request.consumed(), sent.len());
            let args = request.args(&sent);
            assert!(args.iter_from(0).eq(words.iter().map(Vec::as_slice)));
        }
    }
});
