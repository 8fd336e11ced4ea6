use proptest::prelude::*;

use super::*;

/// A request as a client sends it.
fn head(version: i32, kind: i32, length: i32) -> [u8; HEAD] {
    numbers(&[version, kind, length])
        .try_into()
        .expect("twelve bytes")
}

fn asked(kind: i32, key: &[u8]) -> Option<Request> {
    let length = i32::try_from(key.len()).expect("a short key");
    Some(Head::read(&head(2, kind, length))?.request(key))
}

/// What a client reads: numbers, and what is after them.
fn read(bytes: &[u8], count: usize) -> (Vec<i32>, &[u8]) {
    let (head, rest) = bytes.split_at(count.saturating_mul(4));
    let numbers = head
        .chunks_exact(4)
        .map(|it| i32::from_ne_bytes(it.try_into().expect("four")));
    (numbers.collect(), rest)
}

#[test]
fn a_request_is_read_as_nscd_reads_it() {
    let ask = |question| Some(Request::Ask(question));
    let root = || Key::Name(b"root".into());
    assert_eq!(asked(0, b"root\0"), ask(Question::User(root())));
    assert_eq!(asked(0, b"root"), ask(Question::User(root())), "no NUL");
    assert_eq!(asked(0, b"root\0x\0"), ask(Question::User(root())));
    assert_eq!(asked(0, b""), ask(Question::User(Key::Name(Vec::new()))));
    assert_eq!(asked(2, b"root\0"), ask(Question::Group(root())));
    assert_eq!(asked(15, b"root\0"), ask(Question::Groups(b"root".into())));
    assert_eq!(
        asked(1, b"4294967295\0"),
        ask(Question::User(Key::Number(u32::MAX)))
    );
    assert_eq!(asked(3, b"0\0"), ask(Question::Group(Key::Number(0))));
    for bad in [
        "",
        "root",
        "+0",
        " 0",
        "00",
        "-1",
        "0x0",
        "4294967296",
        "1 ",
        "\u{661}",
    ] {
        assert_eq!(asked(1, bad.as_bytes()), Some(Request::Refused), "{bad:?}");
        assert_eq!(asked(3, bad.as_bytes()), Some(Request::Refused), "{bad:?}");
    }
}

#[test]
fn what_is_none_of_a_caches_business_gets_no_answer() {
    for (version, kind, length) in [
        (1, 0, 5),
        (0, 0, 5),
        (2_i32.swap_bytes(), 0, 5_i32.swap_bytes()),
        (2, 22, 5),
        (2, -1, 5),
        (2, i32::MAX, 5),
        (2, 0, -1),
        (2, 0, i32::MIN),
        (2, 0, 1025),
        (2, 0, i32::MAX),
    ] {
        assert_eq!(Head::read(&head(version, kind, length)), None);
    }
    let longest = Head::read(&head(2, 0, 1024)).expect("the longest key");
    assert_eq!(longest.key, LONGEST_KEY);
    for kind in [8, 9, 11, 12, 13, 18, 21] {
        assert_eq!(asked(kind, b"passwd\0"), Some(Request::Refused), "{kind}");
    }
}

/// As nscd 2.36 with all databases disabled was seen to answer.
#[test]
fn databases_that_are_not_served_are_refused_as_disabled_ones_are() {
    let hosts: &[i32] = &[2, -1, 0, 0, -1, -1, 0, -1];
    let services: &[i32] = &[2, -1, 0, 0, 0, -1];
    let netgroups: &[i32] = &[2, -1, 0, 0];
    for (kinds, expected) in [
        (&[4, 5, 6, 7, 14][..], hosts),
        (&[16, 17], services),
        (&[19, 20], netgroups),
    ] {
        for kind in kinds {
            let said = asked(*kind, b"x\0");
            assert_eq!(said, Some(Request::Elsewhere(numbers(expected))), "{kind}");
        }
    }
    for name in ["passwd", "group", "hosts", "services", "netgroup"] {
        assert_eq!(
            asked(10, name.as_bytes()),
            Some(Request::Forget(numbers(&[0])))
        );
    }
    for name in ["", "x", "passwdx"] {
        assert_eq!(
            asked(10, name.as_bytes()),
            Some(Request::Forget(numbers(&[22])))
        );
    }
    let user = Question::User(Key::Number(1));
    assert_eq!(user.unanswered(), numbers(&[2, -1, 0, 0, -1, -1, 0, 0, 0]));
    for question in [
        Question::Group(Key::Number(1)),
        Question::Groups(Vec::new()),
    ] {
        assert_eq!(question.unanswered(), numbers(&[2, -1, 0, 0, -1, 0]));
    }
}

#[test]
fn answers_are_what_clients_read() {
    let root = Passwd {
        name: b"root".into(),
        password: b"x".into(),
        gecos: b"root".into(),
        home: b"/root".into(),
        shell: b"/bin/bash".into(),
        ..Passwd::default()
    };
    let bytes = Answer::User(Some(root)).bytes();
    let (head, rest) = read(&bytes, 9);
    assert_eq!(head, [2, 1, 5, 2, 0, 0, 5, 6, 10]);
    assert_eq!(rest, b"root\0x\0root\0/root\0/bin/bash\0");

    let web = Group::of_ours("web", 61200, ["api", "db2"].into_iter());
    let bytes = Answer::Group(Some(web)).bytes();
    let (head, rest) = read(&bytes, 8);
    assert_eq!(head, [2, 1, 4, 2, 61200, 2, 4, 4]);
    assert_eq!(rest, b"web\0x\0api\0db2\0");

    let wuff = Answer::User(Some(Passwd::of_ours("wuff", 61200, "/"))).bytes();
    assert_eq!(read(&wuff, 9).0, [2, 1, 5, 2, 61200, 61200, 13, 2, 18]);

    let none = Answer::User(None).bytes();
    assert_eq!(none, numbers(&[2, 0, 0, 0, -1, -1, 0, 0, 0]));
    let none = Answer::Group(None).bytes();
    assert_eq!(none, numbers(&[2, 0, 0, 0, -1, 0]));
    let groups = Answer::Groups(vec![44, u32::MAX]).bytes();
    assert_eq!(groups, numbers(&[2, 1, 2, 44, -1]));
    assert_eq!(Answer::Groups(Vec::new()).bytes(), numbers(&[2, 0, 0]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_read_or_refused(
        head in prop::array::uniform12(any::<u8>()),
        small in prop::array::uniform3(-3_i32..1030),
        key in prop::collection::vec(any::<u8>(), 0..1030),
    ) {
        let likely: [u8; HEAD] = numbers(&small).try_into().expect("twelve bytes");
        let right: [u8; HEAD] = numbers(&[2, small[1] % 24, small[2]]).try_into().expect("twelve bytes");
        for head in [head, likely, right] {
            if let Some(head) = Head::read(&head) {
                prop_assert!(head.key <= LONGEST_KEY);
                if let Request::Ask(Question::User(Key::Name(name))
                    | Question::Group(Key::Name(name))
                    | Question::Groups(name)) = head.request(&key) {
                    prop_assert!(!name.contains(&0));
                    prop_assert!(key.starts_with(&name));
                }
            }
        }
    }

    #[test]
    fn what_is_said_is_understood_and_any_bytes_are_survived(
        user in prop::collection::vec("[^\0]{0,9}", 5),
        members in prop::collection::vec("[^\0]{0,9}", 0..9),
        groups in prop::collection::vec(any::<u32>(), 0..9),
        cut in any::<prop::sample::Index>(),
        other in any::<u8>(),
    ) {
        let part = |at: usize| user[at].clone().into_bytes();
        let answers = [
            (Question::User(Key::Number(1)), Answer::User(Some(Passwd {
                name: part(0), password: part(1), uid: 1, gid: u32::MAX, gecos: part(2), home: part(3), shell: part(4),
            }))),
            (Question::Group(Key::Number(1)), Answer::Group(Some(Group {
                name: part(0), password: part(1), gid: 7,
                members: members.iter().map(|it| it.clone().into_bytes()).collect(),
            }))),
            (Question::Groups(part(0)), Answer::Groups(groups)),
        ];
        for (question, answer) in answers {
            let mut bytes = answer.bytes();
            prop_assert_eq!(question.said(&bytes), Said::Answer(answer));
            let cut = cut.index(bytes.len());
            prop_assert_eq!(question.said(&bytes[..cut.min(7)]), Said::Nothing);
            let _survived = question.said(&bytes[..cut]);
            bytes[cut] = other;
            let _survived = question.said(&bytes);
            let head = Head::read(&question.request()[..HEAD].try_into().expect("a head")).expect("good");
            prop_assert_eq!(head.request(&question.request()[HEAD..]), Request::Ask(question));
        }
    }

    #[test]
    fn lengths_in_an_answer_add_up(
        name in "[^\0]*", home in "[^\0]*",
        members in prop::collection::vec("[^\0]{0,20}", 0..20),
        number in any::<u32>(),
    ) {
        let user = Passwd::of_ours(&name, number, &home);
        let bytes = Answer::User(Some(user)).bytes();
        let (head, rest) = read(&bytes, 9);
        let lengths: i32 = [2, 3, 6, 7, 8].iter().map(|at| head[*at]).sum();
        prop_assert_eq!(usize::try_from(lengths), Ok(rest.len()));
        let group = Group::of_ours(&name, number, members.iter().map(String::as_str));
        let bytes = Answer::Group(Some(group)).bytes();
        let (head, rest) = read(&bytes, 6);
        let count = usize::try_from(head[5]).expect("a count");
        let (lengths, strings) = read(rest, count);
        let all: i32 = head[2..4].iter().chain(&lengths).sum();
        prop_assert_eq!(usize::try_from(all), Ok(strings.len()));
        prop_assert_eq!(strings.iter().filter(|byte| **byte == 0).count(), count.saturating_add(2));
    }
}
