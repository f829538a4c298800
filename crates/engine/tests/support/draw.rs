//! Draws that are the same at every run of a seed, and the ids that tests draw from.

/// Knuth's MMIX, from a seed.
pub struct Draw(pub u64);

impl Draw {
    /// The next state; its upper bits are the good ones.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }

    pub fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// The `n`th id of a kind, in the form of AWS's.
pub fn id(prefix: &str, n: usize) -> String {
    let letters: Vec<u8> = (0..11).map(|i| b'a' + ((n / 26_usize.pow(i.min(4))) % 26) as u8).collect();
    format!("{prefix}{}", String::from_utf8(letters).unwrap())
}
