//! The life of leases, gone through exhaustively: every order in which requests come, holders end,
//! services make things, and the daemon is killed between any two steps, on a small host.
//!
//! The states and the order of taking back are those of the program (`dynuser::life`); what this
//! adds is the world around: what is on disk, what the daemon remembers, what carries a number.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::{HashSet, VecDeque};

use dynuser::life::{Event, State, TAKING_BACK, TakeBack};

const NUMBERS: usize = 2;
const NAMES: usize = 2;
const HOLDERS: usize = 3;

/// A lease, on disk or in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Lease {
    state: State,
    name: usize,
    holders: [bool; HOLDERS],
}

/// What the daemon is doing about a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Work {
    Nothing,
    /// It was found free, and nothing is written yet.
    Chosen {
        name: usize,
        holder: usize,
    },
    /// The lease is written, the name is not yet known.
    Written {
        holder: usize,
    },
    /// Taking back: which part is next.
    TakingBack {
        part: usize,
    },
    /// Something could not be taken back: the name is withdrawn, and nobody knows yet.
    Stuck,
}

/// One number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Number {
    disk: Option<Lease>,
    /// Of the daemon; nothing while there is none.
    memory: Option<Lease>,
    work: Work,
    /// The name that programs are told.
    published: Option<usize>,
    processes: bool,
    /// IPC objects, keys and what else a process leaves.
    objects: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct World {
    numbers: [Number; NUMBERS],
    daemon: bool,
    alive: [bool; HOLDERS],
    /// What each holder was told that it has.
    told: [Option<usize>; HOLDERS],
}

const START: World = World {
    numbers: [Number {
        disk: None,
        memory: None,
        work: Work::Nothing,
        published: None,
        processes: false,
        objects: false,
    }; NUMBERS],
    daemon: true,
    alive: [true; HOLDERS],
    told: [None; HOLDERS],
};

fn after(lease: Lease, event: Event) -> Lease {
    let state = State::after(Some(lease.state), event);
    let state = state.unwrap_or_else(|_| panic!("{event:?} in {lease:?}"));
    Lease {
        state: state.expect("it goes on"),
        ..lease
    }
}

impl World {
    /// Everything that may happen next.
    fn next(&self) -> Vec<World> {
        let mut worlds = Vec::new();
        for holder in (0..HOLDERS).filter(|holder| self.alive[*holder]) {
            worlds.push(self.with(|world| {
                world.alive[holder] = false;
                world.told[holder] = None;
            }));
            if self.daemon && self.told[holder].is_none() && !self.is_served(holder) {
                for name in 0..NAMES {
                    worlds.extend(self.requests(name, holder));
                }
            }
        }
        for number in 0..NUMBERS {
            worlds.extend(self.services_do(number));
            if self.daemon {
                worlds.extend(self.daemon_does(number));
            }
        }
        worlds.push(match self.daemon {
            true => self.with(World::kill_daemon),
            false => self.with(World::start_daemon),
        });
        worlds
    }

    fn with(&self, change: impl FnOnce(&mut World)) -> World {
        let mut world = *self;
        change(&mut world);
        world
    }

    fn change(&self, number: usize, change: impl FnOnce(&mut Number)) -> World {
        self.with(|world| change(&mut world.numbers[number]))
    }

    /// Whether the daemon is at work for a holder. (If it is killed, the holder asks again.)
    fn is_served(&self, holder: usize) -> bool {
        self.numbers.iter().any(|number| match number.work {
            Work::Chosen { holder: other, .. } | Work::Written { holder: other } => holder == other,
            _ => false,
        })
    }

    /// A holder asks for a name.
    fn requests(&self, name: usize, holder: usize) -> Vec<World> {
        let of_name = |number: &Number| match (number.work, number.memory) {
            (Work::Chosen { name: other, .. }, _) => other == name,
            (_, Some(lease)) => lease.name == name && lease.state.has_its_name(),
            _ => false,
        };
        let holds = |number: &Number| number.memory.is_some_and(|l| l.holders[holder]);
        // It may have asked before, and the daemon was killed before it answered: then it has its
        // lease, or it is another name that it had asked for, which launchers never do.
        if self.numbers.iter().any(|it| holds(it) && !of_name(it)) {
            return Vec::new();
        }
        let runs = |number: &Number| number.memory.is_some_and(|l| l.state == State::Running);
        let mut found: Vec<usize> = (0..NUMBERS).collect();
        found.retain(|number| of_name(&self.numbers[*number]));
        found.sort_by_key(|number| !runs(&self.numbers[*number]));
        if let Some(number) = found.first().copied() {
            let found = self.numbers[number];
            let joins = found.work == Work::Nothing
                && found.memory.is_some_and(|lease| {
                    let alive = |it: usize| lease.holders[it] && self.alive[it];
                    lease.state == State::Running && (0..HOLDERS).any(alive)
                });
            if !joins {
                return Vec::new(); // It waits.
            }
            let mut joined = after(found.memory.unwrap(), Event::Joined);
            joined.holders[holder] = true;
            let written = self.change(number, |it| it.disk = Some(joined));
            return vec![
                // Killed in between.
                written.with(World::kill_daemon),
                written.with(|world| {
                    world.numbers[number].memory = Some(joined);
                    world.told[holder] = Some(number);
                }),
            ];
        }
        let free = |number: &&usize| {
            let it = self.numbers[**number];
            it.memory.is_none() && it.work == Work::Nothing && !it.processes && !it.objects
        };
        let all: Vec<usize> = (0..NUMBERS).collect();
        all.iter()
            .filter(free)
            .map(|number| self.change(*number, |it| it.work = Work::Chosen { name, holder }))
            .collect()
    }

    /// What the processes of a number do, and whoever holds it.
    fn services_do(&self, number: usize) -> Vec<World> {
        let it = self.numbers[number];
        let mut worlds = Vec::new();
        let held = (0..HOLDERS).any(|h| self.alive[h] && self.told[h] == Some(number));
        if held && !it.processes {
            worlds.push(self.change(number, |it| it.processes = true));
        }
        if it.processes {
            // They end by themselves, or leave something.
            worlds.push(self.change(number, |it| it.processes = false));
            if !it.objects {
                worlds.push(self.change(number, |it| it.objects = true));
            }
        }
        worlds
    }

    fn daemon_does(&self, number: usize) -> Vec<World> {
        let it = self.numbers[number];
        match it.work {
            Work::Nothing => self.daemon_begins(number),
            Work::Chosen { name, holder } => {
                let state = State::after(None, Event::Granted).unwrap().unwrap();
                let mut holders = [false; HOLDERS];
                holders[holder] = true;
                let lease = Lease {
                    state,
                    name,
                    holders,
                };
                vec![
                    // The disk is full.
                    self.change(number, |it| it.work = Work::Nothing),
                    self.change(number, |it| {
                        assert_eq!(it.disk, None, "a number with a lease is given away");
                        assert_eq!(it.published, None, "a number with a name is given away");
                        it.disk = Some(lease);
                        it.memory = Some(lease);
                        it.work = Work::Written { holder };
                    }),
                ]
            }
            Work::Written { holder } => vec![self.with(|world| {
                let it = &mut world.numbers[number];
                it.published = Some(it.memory.unwrap().name);
                it.work = Work::Nothing;
                if world.alive[holder] {
                    world.told[holder] = Some(number);
                }
            })],
            Work::TakingBack { part } => self.take_back(number, part),
            Work::Stuck => {
                let quarantined = self.change(number, |it| {
                    it.memory = Some(after(it.memory.unwrap(), Event::Stuck));
                    it.work = Work::Nothing;
                });
                vec![
                    // It cannot be written.
                    quarantined,
                    quarantined.change(number, |it| it.disk = it.memory),
                ]
            }
        }
    }

    /// The daemon hears of ends, and tries again what it could not do.
    fn daemon_begins(&self, number: usize) -> Vec<World> {
        let Some(lease) = self.numbers[number].memory else {
            return Vec::new();
        };
        let mut worlds = Vec::new();
        if lease.state.is_to_be_taken_back() {
            worlds.push(self.change(number, |it| it.work = Work::TakingBack { part: 0 }));
            return worlds;
        }
        for holder in (0..HOLDERS).filter(|it| lease.holders[*it] && !self.alive[*it]) {
            let mut left = lease;
            left.holders[holder] = false;
            if left.holders.contains(&true) {
                let left = after(left, Event::HolderEnded);
                let forgotten = self.change(number, |it| it.memory = Some(left));
                worlds.push(forgotten.change(number, |it| it.disk = Some(left)));
                worlds.push(forgotten);
            } else {
                let ending = after(lease, Event::LastHolderEnded);
                let begun = self.change(number, |it| {
                    it.memory = Some(ending);
                    it.work = Work::TakingBack { part: 0 };
                });
                worlds.push(begun.change(number, |it| it.disk = Some(ending)));
                worlds.push(begun);
            }
        }
        worlds
    }

    fn take_back(&self, number: usize, part: usize) -> Vec<World> {
        let it = self.numbers[number];
        let next = |it: &mut Number| it.work = Work::TakingBack { part: part + 1 };
        let stuck = || {
            self.change(number, |it| {
                it.published = None;
                it.work = Work::Stuck;
            })
        };
        let done = |change: fn(&mut Number)| {
            self.change(number, |it| {
                change(it);
                next(it);
            })
        };
        match TAKING_BACK[part] {
            TakeBack::Processes if it.processes => vec![stuck(), done(|it| it.processes = false)],
            TakeBack::Ipc if it.objects => vec![stuck(), done(|it| it.objects = false)],
            TakeBack::Name => vec![done(|it| it.published = None)],
            TakeBack::Number => {
                let lease = it.memory.unwrap();
                assert_eq!(State::after(Some(lease.state), Event::TakenBack), Ok(None));
                vec![
                    // The file system is read-only.
                    stuck(),
                    // Killed before it is forgotten.
                    self.change(number, |it| it.disk = None)
                        .with(World::kill_daemon),
                    self.change(number, |it| {
                        it.disk = None;
                        it.memory = None;
                        it.work = Work::Nothing;
                    }),
                ]
            }
            _ => vec![done(|_| ())],
        }
    }

    fn kill_daemon(&mut self) {
        self.daemon = false;
        for it in &mut self.numbers {
            it.memory = None;
            it.work = Work::Nothing;
        }
    }

    /// A new daemon adopts what is on disk. (Killed meanwhile, it has done nothing that the next one
    /// would not do again.)
    fn start_daemon(&mut self) {
        self.daemon = true;
        for it in &mut self.numbers {
            let adopted = it.disk.map(|mut lease| {
                let mut alive = lease.holders;
                for (holder, held) in alive.iter_mut().enumerate() {
                    *held &= self.alive[holder] && lease.state == State::Running;
                }
                let held = alive.contains(&true);
                if held {
                    lease.holders = alive;
                }
                after(lease, Event::Adopted { held })
            });
            it.disk = adopted;
            it.memory = adopted;
            it.published = adopted
                .filter(|lease| lease.state == State::Running)
                .map(|lease| lease.name);
        }
    }

    /// What must be true at every moment.
    fn check(&self) -> Result<(), String> {
        for (number, it) in self.numbers.iter().enumerate() {
            if it.disk.is_none() {
                if it.processes || it.objects {
                    return Err(format!("{number} is free, and something carries it"));
                }
                if it.published.is_some() {
                    return Err(format!("{number} has a name and no lease"));
                }
            }
            if let (Some(name), Some(lease)) = (it.published, it.disk)
                && lease.name != name
            {
                return Err(format!("{number} has another name than its lease"));
            }
            if self.daemon && it.memory.is_some() && it.disk.is_none() {
                return Err(format!(
                    "{number} is leased, and the next daemon will not know"
                ));
            }
        }
        for holder in 0..HOLDERS {
            let Some(number) = self.told[holder] else {
                continue;
            };
            let held = self.numbers[number]
                .disk
                .is_some_and(|lease| lease.state == State::Running && lease.holders[holder]);
            if !held {
                return Err(format!("the lease of holder {holder} is lost"));
            }
        }
        for name in 0..NAMES {
            let of_name = |it: &&Number| it.published == Some(name);
            if self.numbers.iter().filter(of_name).count() > 1 {
                return Err(format!("name {name} has two numbers"));
            }
        }
        Ok(())
    }

    /// One world for all that differ only in which number and which name is which.
    fn canonical(self) -> World {
        let swapped_numbers = |mut world: World| {
            world.numbers.swap(0, 1);
            for told in world.told.iter_mut().flatten() {
                *told = 1 - *told;
            }
            world
        };
        let swapped_names = |mut world: World| {
            for it in &mut world.numbers {
                let leases = [&mut it.disk, &mut it.memory].into_iter().flatten();
                leases.for_each(|lease| lease.name = 1 - lease.name);
                it.published = it.published.map(|name| 1 - name);
                if let Work::Chosen { name, .. } = &mut it.work {
                    *name = 1 - *name;
                }
            }
            world
        };
        let first = self.min(swapped_numbers(self));
        first
            .min(swapped_names(self))
            .min(swapped_numbers(swapped_names(self)))
    }

    /// Whether all is as it was in the beginning.
    fn is_idle(&self) -> bool {
        self.numbers == START.numbers
    }
}

#[test]
fn nothing_that_can_happen_doubles_loses_or_taints_a_number_and_each_comes_back_in_the_end() {
    let mut seen = HashSet::from([START]);
    let mut open = VecDeque::from([START]);
    let mut transitions = 0_u64;
    while let Some(world) = open.pop_front() {
        assert!(settle(world), "it never ends: {world:#?}");
        for next in world.next() {
            transitions += 1;
            if let Err(why) = next.check() {
                panic!("{why}:\n{world:#?}\n->\n{next:#?}");
            }
            let next = next.canonical();
            if seen.insert(next) {
                open.push_back(next);
            }
        }
    }
    println!(
        "{} states, {transitions} transitions, 0 violations",
        seen.len()
    );
    assert!(seen.len() > 10_000, "the model does too little");
}

/// Lets everything end from here on, the kindest way: whether that leads back to the beginning.
fn settle(mut world: World) -> bool {
    world.alive = [false; HOLDERS];
    world.told = [None; HOLDERS];
    for it in &mut world.numbers {
        it.processes = false;
        it.objects = false;
    }
    for _ in 0..200 {
        if !world.daemon {
            world.start_daemon();
        }
        if world.is_idle() {
            return true;
        }
        let number = (0..NUMBERS).find(|number| !world.daemon_does(*number).is_empty());
        let Some(number) = number else {
            return false;
        };
        // The last one of each list is where nothing goes wrong.
        world = *world.daemon_does(number).last().unwrap();
    }
    false
}

#[test]
fn nobody_comes_back_to_a_lease_that_is_ending() {
    for state in [State::Ending, State::Quarantined] {
        for event in [Event::Granted, Event::Joined, Event::LastHolderEnded] {
            assert!(
                State::after(Some(state), event).is_err(),
                "{state:?} {event:?}"
            );
        }
        let adopted = State::after(Some(state), Event::Adopted { held: true });
        assert_eq!(adopted, Ok(Some(state)));
    }
    assert!(State::after(None, Event::Joined).is_err());
    assert!(State::after(Some(State::Running), Event::TakenBack).is_err());
}

#[test]
fn whoever_could_make_a_thing_anew_is_gone_before_it_and_the_number_is_last() {
    let position = |part| TAKING_BACK.iter().position(|it| *it == part).unwrap();
    assert_eq!(position(TakeBack::Processes), 0);
    assert_eq!(position(TakeBack::Number), TAKING_BACK.len() - 1);
    let distinct: HashSet<TakeBack> = TAKING_BACK.into_iter().collect();
    assert_eq!(distinct.len(), TAKING_BACK.len());
}
