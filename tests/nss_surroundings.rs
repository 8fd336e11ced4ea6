//! The NSS module where little works: in signal handlers, without descriptors, under filters of system calls, in a chroot,
//! on small stacks.

#[path = "nss/host.rs"]
mod host;

use host::{Host, Outcome};

/// Runs a part of `tests/nss/surroundings.c` beside the one user `web`.
fn surroundings(part: &str) -> Outcome {
    let said = Host::with_company()?.probe("surroundings", part)?;
    assert_eq!(said, "");
    Ok(())
}

#[test]
fn a_signal_handler_looks_up_while_its_thread_looks_up_or_allocates() -> Outcome {
    surroundings("signals")
}

#[test]
fn a_program_that_closes_every_descriptor_and_may_open_none_knows_the_names() -> Outcome {
    surroundings("descriptors")
}

#[test]
fn a_program_that_may_call_readlink_alone_knows_the_names() -> Outcome {
    surroundings("only readlink")
}

#[test]
fn a_service_without_unix_sockets_knows_the_names() -> Outcome {
    surroundings("no sockets")
}

#[test]
fn no_socket_is_tried_even_where_that_is_death() -> Outcome {
    surroundings("death for sockets")
}

#[test]
fn the_smallest_stacks_are_large_enough() -> Outcome {
    surroundings("stacks")
}

#[test]
fn a_chroot_with_the_table_in_it_knows_the_names() -> Outcome {
    let host = Host::with_company()?;
    // What a chroot has at least: the C library, a program, where to look, and where the module is.
    let script = r#"
        set -e
        root=/run/root
        mkdir -p $root/etc $root/run/dynuser $root/usr $root/lib/nss
        mount --bind /usr $root/usr
        rmdir $root/lib/nss $root/lib
        for link in bin lib lib64; do [ ! -e /$link ] || ln -s usr/$link $root/$link; done
        mkdir $root/opt && cp $DIR/lib/libnss_dynuser.so.2 $root/opt/
        echo "passwd: files dynuser" >$root/etc/nsswitch.conf
        echo "group: files dynuser" >>$root/etc/nsswitch.conf
        export LD_LIBRARY_PATH=/opt
        ask() {
            chroot $root getent passwd web || echo none
            chroot $root id 61200 || true
        }
        ask 2>&1
        mount --bind /run/dynuser $root/run/dynuser
        ask
    "#;
    let said = host.prints(script, &[])?;
    let [without, number, with, id] = said.lines().collect::<Vec<_>>()[..] else {
        return Err(said.into());
    };
    assert_eq!(without, "none");
    assert!(number.contains("no such user"), "{number}");
    assert_eq!(
        with,
        "web:x:61200:61200:Dynamic User:/var/lib/web:/usr/sbin/nologin"
    );
    assert_eq!(
        id,
        "uid=61200(web) gid=61200(web) groups=61200(web),44,61300"
    );
    Ok(())
}
