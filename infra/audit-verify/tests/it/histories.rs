//! Histories that nobody tampered with, whatever went wrong in them: every one is proven.

use audit_verify::Verdict;

use crate::world::{self, DAY, HOUR, MINUTE, World};

/// Writes, doubts, rows that are no entries, records that come late, months and years that pass, keys that change.
fn history(seed: u64) -> World {
    let end = 1_793_000_000_000;
    let names = ["org-1", "org-2", "org.3"];
    let mut world = World::new(seed, end, &names);
    let names = &names[..=world.random.below(3)];
    world.orgs.retain(|name, _| names.contains(&name.as_str()));
    let steps = 1 + world.random.below(150);
    // Some begin so long ago that the first rows have gone.
    let span = [DAY, 40 * DAY, 9 * 365 * DAY][world.random.below(3)];
    let mut times: Vec<_> = (0..steps).map(|_| end - DAY - world.random.upto(span)).collect();
    times.sort_unstable();
    world.keys[0].1 = end - span - 2 * DAY;
    let mut before = 0;
    for at in times {
        world.now = at.max(before);
        let org = names[world.random.below(names.len())];
        step(&mut world, org);
        if world.random.chance(2) {
            world.rotate();
        }
        if world.random.chance(5) {
            world.manifests();
        }
        if world.random.chance(3) {
            world.pin();
        }
        before = world.now;
    }
    // The last hour: every log is alive, and a few entries wait.
    for org in names {
        world.now = end - HOUR;
        world.seal(org, |_| false);
        world.heartbeat(org);
        let mut last = end - 30_000;
        while world.random.chance(50) {
            last += 1_000;
            world.now = last;
            let writer = world.writer(org);
            let row = world.entry(org, writer);
            world.store(org, writer, row);
        }
    }
    world.now = end - 10 * MINUTE;
    world.manifests();
    world.now = end;
    let gone = Gone { now: end, keep: world.random.below(3) };
    for org in world.orgs.values_mut() {
        org.rows.retain(|row| !gone.takes(row));
    }
    world.write();
    world
}

fn step(world: &mut World, org: &str) {
    for _ in 0..world.random.below(12) {
        world.now += world.random.upto(20);
        let writers = world.orgs[org].writers.len();
        let writer = match writers {
            0 => world.writer(org),
            _ if world.random.chance(15) => world.writer(org),
            _ => world.random.below(writers),
        };
        if world.random.chance(5) {
            let stored = world.random.chance(50);
            world.doubt(org, writer, stored);
        } else {
            let row = world.entry(org, writer);
            world.store(org, writer, row);
        }
    }
    if world.random.chance(5) {
        world.malformed(org);
    }
    let deaf = world.random.chance(10);
    let seal = world.random.chance(80);
    if seal {
        world.seal(org, |row| deaf && row.id.0 % 3 == 0);
    }
    if world.random.chance(20) {
        world.now += 6 * MINUTE;
        world.heartbeat(org);
    }
}

/// The store removes a row some time after its own.
struct Gone {
    now: i64,
    keep: usize,
}

impl Gone {
    fn takes(&self, row: &audit_format::Attributes) -> bool {
        let Some(audit_format::Value::N(ttl)) = row.get("ttl") else { return false };
        let over = ttl.parse::<i64>().unwrap() * 1_000 <= self.now;
        over && (self.keep == 0 || ttl.bytes().map(usize::from).sum::<usize>() % (self.keep + 1) != 0)
    }
}

#[test]
fn untouched_histories_are_proven() {
    let runs = std::env::var("HISTORIES").map_or(60, |runs| runs.parse().unwrap());
    let mut entries = 0;
    for seed in 0..runs {
        let world = history(seed);
        let (report, pins) = world.verify();
        assert_eq!(report.verdict(), Verdict::Proven, "history {seed}: {}", world::told(&report));
        entries += report.logs.values().map(|log| log.entries).sum::<u64>();
        // What was pinned is found again.
        let options = audit_verify::Options { pins, require_pins: true, ..world.options() };
        let (again, _) = audit_verify::verify(&world.source(), &options, &());
        assert_eq!(again.verdict(), Verdict::Proven, "history {seed}: {}", world::told(&again));
    }
    assert!(entries > 20 * runs, "{entries} entries are no histories");
}
