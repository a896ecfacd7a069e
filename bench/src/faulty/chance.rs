//! What a power cut leaves to chance, and always the same for a seed.

/// Decides what of the unsynced survives.
#[derive(Clone, Debug)]
pub(super) struct Chance {
    state: u64,
    /// Of 256 pieces, how many survive.
    of_256: u64,
    /// Whether pages are torn between their sectors.
    tears: bool,
}

impl Chance {
    /// Nothing survives.
    pub(super) fn none() -> Chance {
        Chance { state: 0, of_256: 0, tears: false }
    }

    /// From hardly anything to nearly all of it, whole pages or sectors, as the seed says.
    pub(super) fn from_seed(seed: u64) -> Chance {
        let mut chance = Chance { state: seed, of_256: 0, tears: false };
        chance.of_256 = [8, 64, 128, 192, 248][usize::try_from(chance.below(5)).unwrap_or(0)];
        chance.tears = chance.below(2) == 1;
        chance
    }

    pub(super) fn survives(&mut self) -> bool {
        self.below(256) < self.of_256
    }

    pub(super) fn tears(&self) -> bool {
        self.tears
    }

    /// How many of so many steps, made one after the other, are not lost.
    pub(super) fn steps(&mut self, count: usize) -> usize {
        (0..count).find(|_| !self.survives()).unwrap_or(count)
    }

    /// `SplitMix64`: nothing hangs on how good it is.
    fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
