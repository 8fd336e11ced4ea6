//! What the NSS module tells of a user, as programs show it: home, members, groups, and the shadow records.

#[path = "nss/host.rs"]
mod host;

use std::fs;

use host::{Fallible, Host, Outcome};

const MEMBERS: &str = "api,a-longer-name-of-31-letters-012,z";

#[test]
fn the_user_has_its_home_and_its_group_the_members() -> Outcome {
    let host = Host::with_company()?;
    for key in ["web", "61200"] {
        let user = "web:x:61200:61200:Dynamic User:/var/lib/web:/usr/sbin/nologin\n";
        assert_eq!(host.getent("passwd", key)?.as_deref(), Some(user));
        let group = format!("web:x:61200:{MEMBERS}\n");
        assert_eq!(host.getent("group", key)?, Some(group));
    }
    let all = host.prints("getent group", &[])?;
    assert_eq!(all, format!("root:x:0:\nweb:x:61200:{MEMBERS}\n"));
    assert_eq!(
        host.prints("echo ~web", &[])?,
        "~web\n",
        "dash knows no users"
    );
    assert_eq!(host.prints("bash -c 'echo ~web'", &[])?, "/var/lib/web\n");
    Ok(())
}

#[test]
fn shadow_records_are_those_of_systemd() -> Outcome {
    for host in [Host::with_web()?, Host::with_company()?] {
        for (database, root, line) in [
            ("shadow", "root:*:1::::::\n", "web:!*::::::1:\n"),
            ("gshadow", "root:*::\n", "web:!*::\n"),
        ] {
            assert_eq!(host.getent(database, "web")?.as_deref(), Some(line));
            assert_eq!(host.getent(database, "webb")?, None);
            // Numbers are no keys there.
            assert_eq!(host.getent(database, "61200")?, None);
            let all = host.prints("getent $1", &[database])?;
            assert_eq!(all, format!("{root}{line}"));
        }
    }
    Ok(())
}

#[test]
fn an_account_has_no_password_and_has_expired() -> Outcome {
    let host = Host::with_web()?;
    let said = host.prints("passwd --status web 2>&1", &[])?;
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(words.get(..2), Some(&["web", "L"][..]), "{said}");
    // root itself must not log in as it, which needs no password; setpriv and runuser ask nobody.
    let output = host.command("su -s /bin/sh web -c id", &[]).output()?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(said.contains("account has expired"), "{said}");
    Ok(())
}

/// What `id` says of web's groups on a host with these services for groups.
fn groups_with(services: &str) -> Fallible<(String, String)> {
    let host = Host::with_company()?;
    let switch = host.0.path().join("nsswitch.conf");
    fs::write(switch, format!("passwd: files dynuser\n{services}\n"))?;
    let groups = "root:x:0:\nvideo:x:44:\nshared:x:4000:web\nother:x:4001:root\n";
    fs::write(host.0.path().join("group"), groups)?;
    let id = host.prints("id web", &[])?;
    let taken = "setpriv --reuid 61200 --regid 61200 --init-groups id -G";
    Ok((id, host.prints(taken, &[])?))
}

#[test]
fn the_groups_of_a_user_are_shown_and_taken() -> Outcome {
    let shown = "uid=61200(web) gid=61200(web) groups=61200(web),";
    for services in [
        "group: files dynuser",
        "group: files [SUCCESS=merge] dynuser",
        "group: dynuser files",
        "group: files dynuser\ninitgroups: files [SUCCESS=continue] dynuser",
    ] {
        let (id, taken) = groups_with(services)?;
        let [first, second] = if services.contains(": dynuser") {
            ["44(video),61300,4000(shared)", "44 61300 4000"]
        } else {
            ["4000(shared),44(video),61300", "4000 44 61300"]
        };
        assert_eq!(id, format!("{shown}{first}\n"), "{services}");
        assert_eq!(
            sorted(&taken),
            sorted(&format!("61200 {second}")),
            "{services}"
        );
    }
    // Here an administrator said that the first answer is the whole one.
    let (id, _) = groups_with("group: files dynuser\ninitgroups: dynuser files")?;
    assert_eq!(id, format!("{shown}44(video),61300\n"));
    Ok(())
}

fn sorted(words: &str) -> Vec<&str> {
    let mut words: Vec<&str> = words.split_whitespace().collect();
    words.sort_unstable();
    words
}

#[test]
fn a_group_of_the_same_name_and_number_is_merged() -> Outcome {
    let host = Host::with_company()?;
    let switch = "passwd: files dynuser\ngroup: files [SUCCESS=merge] dynuser\n";
    fs::write(host.0.path().join("nsswitch.conf"), switch)?;
    fs::write(host.0.path().join("group"), "web:x:61200:root\n")?;
    for key in ["web", "61200"] {
        let group = format!("web:x:61200:root,{MEMBERS}\n");
        assert_eq!(host.getent("group", key)?, Some(group));
    }
    Ok(())
}

#[test]
fn as_much_as_a_link_may_say_is_told_and_more_is_nobody() -> Outcome {
    let members = vec!["m"; 1990];
    let members = members.join(",");
    let groups = (1000..).map(|number| number.to_string());
    let groups: Vec<String> = groups.take(790).collect();
    // The longest texts, and texts of one byte more.
    let fill = |text: String, length: usize| {
        let letters = "a".repeat(length.saturating_sub(text.len()));
        let text = text + &letters;
        assert_eq!(text.len(), length);
        text
    };
    let crowd = fill(format!("61200:::{members},"), 4000);
    let crowded = fill(format!("61201:::{members},"), 4001);
    let joiner = format!("61202:/{}:{}", "h".repeat(30), groups.join(","));
    let home = "h".repeat(254);
    let host = Host::with(&[
        ("name:crowd", crowd.as_bytes()),
        ("name:crowded", crowded.as_bytes()),
        ("name:joiner", joiner.as_bytes()),
        ("uid:61202", b"joiner"),
        ("name:homely", format!("61203:/{home}").as_bytes()),
        ("name:homeless", format!("61204:/{home}h").as_bytes()),
    ])?;
    let told = crowd.replacen("61200:::", "", 1);
    let group = host.getent("group", "crowd")?;
    assert_eq!(group, Some(format!("crowd:x:61200:{told}\n")));
    assert_eq!(host.getent("group", "crowded")?, None);
    let ids = host.prints("id -G joiner", &[])?;
    assert_eq!(ids, format!("61202 {}\n", groups.join(" ")));
    let user = host.getent("passwd", "homely")?.unwrap_or_default();
    assert!(user.contains(&format!(":/{home}:")), "{user}");
    assert_eq!(host.getent("passwd", "homeless")?, None);
    Ok(())
}
