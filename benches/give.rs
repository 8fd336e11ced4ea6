//! What benches/run times beside `chown -R`: gives a tree to another owner, or lists it, as the library does.
//!
//! `give TOP FROM TO` or `give TOP`; FROM and TO are a user's number and its group's.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicBool;

use dynuser::sys::give::{Ids, count_entries, give_tree};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut words = std::env::args().skip(1);
    let top = words.next().ok_or("which tree?")?;
    let directory = File::open(&top)?;
    let mut owner = || -> Result<Option<Ids>, Failure> {
        let number: Option<u32> = words.next().map(|word| word.parse()).transpose()?;
        Ok(number.map(|id| Ids { uid: id, gid: id }))
    };
    match (owner()?, owner()?) {
        (Some(from), Some(to)) => {
            let given = give_tree(directory.as_fd(), &top, &[from], to, &|_| ())?;
            println!("{} {}", given.given, given.left);
        }
        _ => println!(
            "{}",
            count_entries(directory.as_fd(), &top, &AtomicBool::new(false))?
        ),
    }
    Ok(())
}
