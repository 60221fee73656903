//! A world: organisations, their rows and their logs, as service and sealer make them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use audit_format::archive::LOGS;
use audit_format::{
    Action, Attributes, Body, Details, InDoubt, LeafHash, LogRow, Notice, NoticeKind, UserId, Value, digest,
};
use audit_verify::{Directory, Keys, Options, Pins, Report, Source, Verdict, verify};
use jiff::Timestamp;
use tempfile::TempDir;
use ulid::Ulid;

use crate::sealed::{Key, ORIGIN, Sealed};

pub const MINUTE: i64 = 60_000;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// SplitMix64: a seed gives a history again.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    pub fn upto(&mut self, bound: i64) -> i64 {
        i64::try_from(self.next() % bound.unsigned_abs()).unwrap()
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

#[derive(Clone)]
pub struct Writer {
    pub id: String,
    next: u64,
    last: Option<LeafHash>,
    replaces: Option<InDoubt>,
}

/// An organisation.
#[derive(Clone)]
pub struct Org {
    pub log: Sealed,
    pub rows: Vec<Attributes>,
    pub writers: Vec<Writer>,
    /// Rows that the sealer has not heard of yet.
    pub unsealed: Vec<LogRow>,
    doubts: Vec<InDoubt>,
    pub complete_to: i64,
}

/// The world.
pub struct World {
    pub random: Random,
    pub now: i64,
    pub orgs: BTreeMap<String, Org>,
    pub logs: Sealed,
    /// The keys, each with the time from which it signs.
    pub keys: Vec<(Key, i64)>,
    pub pins: Pins,
    pub folder: TempDir,
}

impl World {
    pub fn new(seed: u64, now: i64, orgs: &[&str]) -> Self {
        let org = |name: &&str| {
            let org = Org {
                log: Sealed::new(name),
                rows: Vec::new(),
                writers: Vec::new(),
                unsealed: Vec::new(),
                doubts: Vec::new(),
                complete_to: i64::MIN,
            };
            ((*name).to_owned(), org)
        };
        Self {
            random: Random(seed),
            now,
            orgs: orgs.iter().map(org).collect(),
            logs: Sealed::new(LOGS),
            keys: vec![(Key([255; 32]), now)],
            pins: Pins::default(),
            folder: TempDir::new().unwrap(),
        }
    }

    pub fn key(&self) -> Key {
        self.keys.last().unwrap().0
    }

    pub fn rotate(&mut self) {
        let seed = u8::try_from(self.keys.len()).unwrap();
        self.keys.push((Key([seed; 32]), self.now));
    }

    /// The next entry of a writer, of now. It is stored nowhere yet.
    pub fn entry(&mut self, org: &str, writer: usize) -> LogRow {
        let ulid = Ulid::from_parts(u64::try_from(self.now).unwrap(), u128::from(self.random.next()));
        let action = Action::ALL[self.random.below(Action::ALL.len())];
        let with = |random: &mut Random, text: &str| random.chance(50).then(|| text.to_owned());
        let random = &mut self.random;
        let writer = &self.orgs[org].writers[writer];
        let body = Body {
            action,
            ip: "203.0.113.7".into(),
            device: "Mozilla/5.0 \"é\"".into(),
            error: random.chance(20).then(|| "file_not_found: File not found".to_owned()),
            path: with(random, "accounting/receipt/r-1/a.jpg"),
            replaces: writer.replaces.clone(),
            id: ulid.to_string(),
            details: Details { file_size: random.chance(30).then_some(17), ..Details::default() },
            sequence: writer.next,
            org: org.into(),
            previous: writer.last.as_ref().map(Body::encode_hash),
            request_id: "8f14e45f".into(),
            role: "accountant".into(),
            sub: None,
            timestamp_ms: self.now,
            user: UserId::Number(i64::try_from(random.below(3)).unwrap()),
            writer: writer.id.clone(),
            related_type: with(random, "invoice"),
            related_id: with(random, "inv-1"),
        };
        LogRow::of(&body.to_bytes()).unwrap()
    }

    /// A new writer, which names one that ended in doubt if there is one.
    pub fn writer(&mut self, org: &str) -> usize {
        let id = format!("w{:015x}", self.random.next() >> 4);
        let org = self.orgs.get_mut(org).unwrap();
        let replaces = org.doubts.pop();
        org.writers.push(Writer { id, next: 0, last: None, replaces });
        org.writers.len() - 1
    }

    /// Stores an entry: its writer goes on behind it, and the sealer will hear of it.
    pub fn store(&mut self, org: &str, writer: usize, row: LogRow) {
        let org = self.orgs.get_mut(org).unwrap();
        let writer = &mut org.writers[writer];
        (writer.next, writer.last, writer.replaces) = (writer.next + 1, Some(row.hash), None);
        org.rows.push(row.attributes());
        org.unsealed.push(row);
    }

    /// Writes an entry whose outcome nobody knows: the writer ends.
    pub fn doubt(&mut self, org: &str, writer: usize, stored: bool) {
        let row = self.entry(org, writer);
        let sequence = row.body.sequence.checked_sub(1);
        let doubt = InDoubt { id: row.body.id.clone(), sequence, writer: row.body.writer.clone() };
        let ended = self.orgs.get_mut(org).unwrap().writers[writer].clone();
        if stored {
            self.store(org, writer, row);
        }
        let org = self.orgs.get_mut(org).unwrap();
        org.writers.remove(writer);
        org.doubts.extend(ended.replaces.filter(|_| !stored));
        org.doubts.push(doubt);
    }

    pub fn say(&mut self, org: &str, notice: &Notice) {
        self.orgs.get_mut(org).unwrap().log.push(notice.to_bytes());
    }

    /// Seals what the sealer has heard of, some of it out of order, but for what it has not heard of.
    pub fn seal(&mut self, org: &str, deaf: impl Fn(&LogRow) -> bool) {
        let org = self.orgs.get_mut(org).unwrap();
        let (later, mut now): (Vec<_>, Vec<_>) = org.unsealed.drain(..).partition(deaf);
        for place in 1..now.len() {
            if self.random.chance(20) {
                now.swap(place - 1, place);
            }
        }
        now.into_iter().for_each(|row| org.log.push(row.bytes));
        org.unsealed = later;
    }

    /// A row that is no entry, and the notice that says so.
    pub fn malformed(&mut self, org: &str) {
        let mut row = {
            let writer = self.writer(org);
            let row = self.entry(org, writer);
            let org = self.orgs.get_mut(org).unwrap();
            // It never was a writer.
            org.doubts.extend(org.writers.remove(writer).replaces);
            row.attributes()
        };
        // No bytes of an entry: a row that has those and other attributes is taken for a forgery.
        match self.random.below(3) {
            0 => drop(row.remove("b")),
            1 => drop(row.insert("b".into(), Value::B(b"{}".to_vec()))),
            _ => {
                row.insert("b".into(), Value::S("no bytes".into()));
                row.insert("sk".into(), Value::S("zzz".into()));
            }
        }
        self.noticed(org, row);
    }

    /// A row that is not as an entry's bytes say, and the notice that says so.
    pub fn noticed(&mut self, org: &str, row: Attributes) {
        let text = |name| match &row[name] {
            Value::S(text) => Some(text.clone()),
            _ => None,
        };
        let notice = Notice {
            id: text("sk"),
            partition: text("pk"),
            row: Some(digest(&row)),
            what: Some("h".into()),
            ..Notice::new(NoticeKind::Malformed, org, self.now)
        };
        self.orgs.get_mut(org).unwrap().rows.push(row);
        self.say(org, &notice);
    }

    /// What the sealer does every hour: it looks for what it has not heard of, and says how far the log is complete.
    pub fn heartbeat(&mut self, org: &str) {
        let complete_to = self.now - 5 * MINUTE;
        let now = self.now;
        let log = self.orgs.get_mut(org).unwrap();
        let (late, rest): (Vec<_>, Vec<_>) =
            log.unsealed.drain(..).partition(|row| row.at.as_millisecond() < complete_to);
        log.unsealed = rest;
        let times = || late.iter().map(|row| row.at.as_millisecond());
        if let Some((from, to)) = times().min().zip(times().max()) {
            let count = Some(late.len() as u64);
            let (from, to) = (Some(from), Some(to));
            let notice = Notice { from, to, count, ..Notice::new(NoticeKind::Late, org, now) };
            log.log.push(notice.to_bytes());
            late.into_iter().for_each(|row| log.log.push(row.bytes));
        }
        log.complete_to = complete_to;
        let complete_to = Some(complete_to);
        self.say(org, &Notice { complete_to, ..Notice::new(NoticeKind::Heartbeat, org, now) });
        let key = self.key();
        self.orgs.get_mut(org).unwrap().log.keep(key);
    }

    /// What the sealer does every day: it says which logs there are.
    pub fn manifests(&mut self) {
        for (name, org) in &self.orgs {
            let size = org.log.size();
            let day = Timestamp::from_millisecond(self.now).unwrap().strftime("%Y-%m-%d").to_string();
            let root = data_encoding::BASE64.encode(&org.log.root(size).0);
            let (day, root, size) = (Some(day), Some(root), Some(size));
            let notice = Notice { day, root, size, ..Notice::new(NoticeKind::Manifest, name, self.now) };
            self.logs.push(notice.to_bytes());
        }
        let complete_to = Some(self.now);
        let beat = Notice { complete_to, ..Notice::new(NoticeKind::Heartbeat, LOGS, self.now) };
        self.logs.push(beat.to_bytes());
        let key = self.key();
        self.logs.keep(key);
    }

    pub fn archive(&self) -> PathBuf {
        self.folder.path().join("archive")
    }

    /// Writes everything as a bundle.
    pub fn write(&self) {
        let archive = self.archive();
        drop(fs::remove_dir_all(&archive));
        fs::create_dir_all(&archive).unwrap();
        self.logs.sign(&archive, self.key());
        for org in self.orgs.values().filter(|org| org.log.size() > 0) {
            org.log.sign(&archive, self.key());
        }
        self.write_tables();
    }

    pub fn write_tables(&self) {
        let table = self.folder.path().join("table");
        fs::create_dir_all(&table).unwrap();
        for (name, org) in &self.orgs {
            let key = |row: &Attributes| format!("{:?} {:?}", row["pk"], row["sk"]);
            let rows: BTreeMap<_, _> = org.rows.iter().map(|row| (key(row), json(row) + "\n")).collect();
            fs::write(table.join(format!("{name}.ndjson")), rows.into_values().collect::<String>()).unwrap();
        }
    }

    /// The keys as the endpoint lists them.
    pub fn key_list(&self) -> String {
        let until =
            self.keys.iter().skip(1).map(|(_, since)| Some(Timestamp::from_millisecond(*since).unwrap()));
        let keys = self
            .keys
            .iter()
            .zip(until.chain([None]))
            .map(|((key, _), until)| serde_json::json!({ "vkey": key.vkey("org-1"), "valid_to": until }));
        serde_json::json!({ "origin": ORIGIN, "keys": keys.collect::<Vec<_>>() }).to_string()
    }

    pub fn options(&self) -> Options {
        let mut keys = Keys::new(None);
        keys.add(&self.key_list()).unwrap();
        let now = Timestamp::from_millisecond(self.now).unwrap();
        Options { pins: self.pins.clone(), ..Options::new(keys, now) }
    }

    pub fn source(&self) -> Source {
        Source::Directory(Directory::open(self.folder.path()).unwrap())
    }

    pub fn verify(&self) -> (Report, Pins) {
        verify(&self.source(), &self.options(), &())
    }

    /// Pins the logs as they are.
    pub fn pin(&mut self) {
        for log in self.orgs.values().map(|org| &org.log).chain([&self.logs]) {
            let note = log.note(log.size(), self.keys.last().unwrap().0);
            self.pins.set(format!("{ORIGIN}/{}", log.org), note);
        }
    }
}

fn json(row: &Attributes) -> String {
    let value = |value: &Value| match value {
        Value::S(text) => serde_json::json!({ "S": text }),
        Value::N(number) => serde_json::json!({ "N": number }),
        Value::B(bytes) => serde_json::json!({ "B": data_encoding::BASE64.encode(bytes) }),
        Value::Other(json) => serde_json::from_str(json).unwrap(),
    };
    let members = row.iter().map(|(name, found)| (name.clone(), value(found)));
    serde_json::Value::Object(members.collect()).to_string()
}

/// What a report says, but for remarks.
pub fn told(report: &Report) -> String {
    let findings = report.findings.iter().filter(|found| found.class.verdict() != Verdict::Proven);
    findings
        .map(|found| {
            format!(
                "\n{} {} {:?} {:?}: {}",
                found.class.name(),
                found.log,
                found.seq,
                found.entry,
                found.detail
            )
        })
        .collect()
}
