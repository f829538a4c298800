//! Owns how a fuzz target is driven, on the stable toolchain and within `cargo test`: the corpus is replayed, then inputs are
//! made of it by changing, cutting, joining and repeating. A target tells what it did with an input as a word; an input
//! with a new word joins those that others are made of, so that the search goes where the parser goes.
//!
//! `STRONGROOM_FUZZ_SECONDS` gives each target so long instead of a number of inputs; `STRONGROOM_FUZZ_SEED` begins elsewhere.
//! An input that panics or takes too long is written to `target/fuzz` and ends the run: keep it in the corpus once it is
//! mended.

#![allow(clippy::print_stdout, reason = "it says how much was tried")]

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

/// Inputs of a run that is not told how long to take.
const EXECUTIONS: u64 = 20_000;
/// The longest input that is made, in bytes.
const LENGTH_MAX: usize = 64 * 1024;
/// Inputs that others are made of, and words that are known, at most: a run of hours keeps its memory.
const POOL_MAX: usize = 4_096;
const WORDS_MAX: usize = 1 << 20;
/// How long one input may take before it counts as a hang.
const TIME_MAX: Duration = Duration::from_secs(2);
/// Bytes and numbers at which parsers turn.
const TURNS: [u8; 16] = [0, 1, 0x7f, 0x80, 0xff, 0x18, 0x1b, 0x5f, 0x9f, 0xbf, 0xf6, b'"', b'{', b'[', b'\\', b'%'];

/// A target: the folder of its corpus (which need not be there), and what inputs are made of besides.
#[derive(Debug)]
pub struct Target<'a> {
    /// Its name.
    pub name: &'a str,
    /// `tests/corpus` of its crate.
    pub corpus: PathBuf,
    /// Inputs that mean something.
    pub seeds: Vec<Vec<u8>>,
}

impl<'a> Target<'a> {
    /// A target of the crate in this folder (`env!("CARGO_MANIFEST_DIR")`).
    pub fn new(name: &'a str, crate_folder: &str, seeds: Vec<Vec<u8>>) -> Self {
        Self { name, corpus: Path::new(crate_folder).join("tests/corpus").join(name), seeds }
    }

    /// Runs it; gives the number of inputs tried.
    ///
    /// # Panics
    /// With what the target panicked, or for an input that took too long.
    pub fn fuzz(&self, run: impl Fn(&[u8]) -> u64) -> u64 {
        let mut pool = self.pool();
        let mut words = HashSet::new();
        for input in &pool {
            words.insert(self.try_one(input, &run));
        }
        let mut draw = Draw(number("STRONGROOM_FUZZ_SEED").unwrap_or(1) ^ hash(self.name.as_bytes()));
        let until = number("STRONGROOM_FUZZ_SECONDS").map(|n| Instant::now() + Duration::from_secs(n));
        let mut tried = pool.len() as u64;
        while until.map_or(tried < EXECUTIONS, |until| Instant::now() < until) {
            let input = draw.input(&pool);
            let word = self.try_one(&input, &run);
            if words.len() < WORDS_MAX && words.insert(word) {
                match pool.len() < POOL_MAX {
                    true => pool.push(input),
                    false => {
                        let at = draw.below(POOL_MAX);
                        pool[at] = input;
                    }
                }
            }
            tried += 1;
        }
        println!("{}: {tried} inputs, {} ways", self.name, words.len());
        tried
    }

    /// The corpus in the order of its names, then the seeds; at least the empty input.
    fn pool(&self) -> Vec<Vec<u8>> {
        let mut files: Vec<_> = fs::read_dir(&self.corpus).into_iter().flatten().flatten().map(|e| e.path()).collect();
        files.sort();
        let corpus = files.into_iter().map(|path| fs::read(path).expect("a file of the corpus can be read"));
        corpus.chain(self.seeds.clone()).chain([Vec::new()]).collect()
    }

    fn try_one(&self, input: &[u8], run: &impl Fn(&[u8]) -> u64) -> u64 {
        let begun = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| run(input)));
        match outcome {
            Ok(word) if begun.elapsed() <= TIME_MAX => word,
            Ok(_) => panic!("{}: {:?} for {}", self.name, begun.elapsed(), self.keep(input).display()),
            Err(panic) => {
                println!("{} panics with {}", self.name, self.keep(input).display());
                resume_unwind(panic)
            }
        }
    }

    /// Writes an input down for whoever mends it.
    fn keep(&self, input: &[u8]) -> PathBuf {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz");
        let path = folder.join(format!("{}-{:016x}", self.name, hash(input)));
        // Where it cannot be written, the panic still tells its seed.
        let _ = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, input));
        path
    }
}

/// The word for a text, such as an error's: the same for texts that differ in numbers alone.
pub fn word(text: &str) -> u64 {
    hash(text.chars().filter(|c| !c.is_ascii_digit()).take(60).collect::<String>().as_bytes())
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

/// Draws that are the same at every run of a seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }

    /// Some of the pool, changed a few times.
    fn input(&mut self, pool: &[Vec<u8>]) -> Vec<u8> {
        let mut input = pool[self.below(pool.len())].clone();
        for _ in 0..=self.below(4) {
            self.change(&mut input, pool);
        }
        input.truncate(LENGTH_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, pool: &[Vec<u8>]) {
        let at = self.below(input.len());
        let end = (at + 1 + self.below(16)).min(input.len());
        match self.below(9) {
            0 if !input.is_empty() => input[at] ^= 1 << self.below(8),
            1 if !input.is_empty() => input[at] = TURNS[self.below(TURNS.len())],
            2 if !input.is_empty() => input[at] = self.below(256) as u8,
            3 => input.insert(at, TURNS[self.below(TURNS.len())]),
            4 if !input.is_empty() => drop(input.drain(at..end)),
            5 => input.truncate(at),
            6 if !input.is_empty() => {
                // A part again, many times where it is short: nesting and lists grow so.
                let part = input[at..end].to_vec();
                let times = 1 + self.below(if part.len() < 3 { 200 } else { 4 });
                let repeated = part.repeat(times);
                input.splice(at..at, repeated);
            }
            7 if end - at >= 4 => {
                let numbers = [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, input.len() as u32];
                let n = numbers[self.below(numbers.len())].to_be_bytes();
                input[at..at + 4].copy_from_slice(&n);
            }
            _ => {
                // A part of another.
                let other = &pool[self.below(pool.len())];
                let from = self.below(other.len());
                let to = (from + 1 + self.below(64)).min(other.len());
                input.splice(at..at, other[from.min(to)..to].iter().copied());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_behind_three_turns_is_found() {
        let target = Target { name: "planted", corpus: PathBuf::from("/nowhere"), seeds: vec![b"none".to_vec()] };
        let run = |input: &[u8]| {
            let depth = input.iter().zip(b"{[\"").take_while(|(a, b)| a == b).count();
            assert!(depth < 3, "found");
            depth as u64
        };
        let found = catch_unwind(AssertUnwindSafe(|| target.fuzz(run)));
        assert!(found.is_err());
        let kept = fs::read_dir(target.keep(b"x").parent().unwrap()).unwrap().flatten().map(|e| e.path());
        for path in kept.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("planted-")) {
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn words_are_of_what_is_said_not_of_numbers() {
        assert_eq!(word("at line 1 column 22"), word("at line 31 column 4"));
        assert_ne!(word("a"), word("b"));
    }
}
