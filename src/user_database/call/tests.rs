use proptest::prelude::*;

use super::*;

#[test]
fn what_is_no_call_ends_the_connection() {
    let get = r#""method":"org.varlink.service.GetInfo""#;
    let deep = format!("{{{get},\"parameters\":{}}}", "{\"a\":".repeat(3000));
    let many = (0..33).map(|n| format!("\"a{n}\":1")).collect::<Vec<_>>();
    let long = "a".repeat(256);
    for message in [
        "",
        " ",
        "hello",
        "5",
        "[]",
        "null",
        "{}",
        r#"{"method":5}"#,
        r#"{"parameters":{}}"#,
        &format!("{{{get},{get}}}"),
        &format!("{{{get}}} x"),
        &format!("{{{get},\"parameters\":[]}}"),
        &format!("{{{get},\"parameters\":\"a\"}}"),
        &format!("{{{get},\"more\":1}}"),
        &format!("{{{get},\"more\":null}}"),
        &format!("{{{get},\"foo\":true}}"),
        &format!("{{{get},\"more\":true,\"oneway\":true}}"),
        &format!("{{{get},\"upgrade\":true,\"oneway\":true}}"),
        &format!("{{{get},\"parameters\":{{\"a\":1,\"a\":1}}}}"),
        &format!("{{{get},\"parameters\":{{\"a\":\"\\ud800\"}}}}"),
        &format!("{{{get},\"parameters\":{{\"a\":1e999}}}}"),
        &format!("{{{get},\"parameters\":{{{}}}}}", many.join(",")),
        &format!("{{{get},\"parameters\":{{\"{long}\":1}}}}"),
        &format!("{{\"method\":\"{long}\"}}"),
        &deep,
    ] {
        assert_eq!(Call::parse(message.as_bytes()), Err(Malformed), "{message}");
    }
    let mut invalid = format!("{{{get},\"parameters\":{{\"a\":[\"x\"]}}}}").into_bytes();
    assert!(Call::parse(&invalid).is_ok());
    let at = invalid.iter().position(|byte| *byte == b'x').expect("x");
    invalid[at] = 0xff;
    assert_eq!(
        Call::parse(&invalid),
        Err(Malformed),
        "no UTF-8 where it is skipped"
    );
}

#[test]
fn nesting_is_skipped_and_not_kept() {
    let depth = 3000;
    let nested = "[".repeat(depth) + &"]".repeat(depth);
    let message = format!(r#"{{"method":"a.b","parameters":{{"x":{nested},"y":1}}}}"#);
    let call = Call::parse(message.as_bytes()).expect("a call");
    let wanted = [
        ("x".to_owned(), Parameter::Other),
        ("y".to_owned(), Parameter::Number(1)),
    ];
    assert_eq!(call.parameters, Some(Parameters(wanted.into())));
}

#[test]
fn calls_are_cut_at_their_ends_however_they_come() {
    let mut calls = Calls::default();
    assert_eq!(calls.next_call(), Ok(None));
    calls.add(b"{\"a\"");
    assert_eq!(calls.next_call(), Ok(None));
    assert!(calls.is_within_one());
    calls.add(b":1}\0\0{");
    assert_eq!(calls.next_call(), Ok(Some(b"{\"a\":1}".to_vec())));
    assert_eq!(calls.next_call(), Ok(Some(vec![])));
    assert_eq!(calls.next_call(), Ok(None));
    calls.add(b"}\0");
    assert_eq!(calls.next_call(), Ok(Some(b"{}".to_vec())));
    assert_eq!(calls.next_call(), Ok(None));
    assert!(!calls.is_within_one());
    calls.add(&vec![b' '; LONGEST_CALL]);
    assert_eq!(calls.next_call(), Ok(None));
    calls.add(b"\0");
    assert_eq!(calls.next_call(), Ok(Some(vec![b' '; LONGEST_CALL])));
    for extra in [&b" "[..], b" \0"] {
        calls = Calls::default();
        calls.add(&vec![b' '; LONGEST_CALL]);
        calls.add(extra);
        assert_eq!(calls.next_call(), Err(Malformed));
    }
}

proptest! {
    #[test]
    fn cutting_does_not_depend_on_how_bytes_come(
        words in proptest::collection::vec("[a-z]{0,20}", 0..20),
        sizes in proptest::collection::vec(1_usize..30, 1..10),
    ) {
        let all: Vec<u8> = words.iter().flat_map(|word| [word.as_bytes(), &[0]].concat()).collect();
        let (mut calls, mut read, mut rest) = (Calls::default(), Vec::new(), all.as_slice());
        for size in sizes.iter().cycle() {
            while let Some(call) = calls.next_call().expect("short") {
                read.push(String::from_utf8(call).expect("words"));
            }
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*size).min(rest.len()));
            calls.add(now);
            rest = later;
        }
        prop_assert_eq!(read, words);
    }
}
