//! A stream of choices: random where it is new, repeated where it is given. What a generator makes of a shorter or
//! smaller stream is a smaller program, so shrinking a failure is shrinking a list of numbers.
//!
//! Invariant: a generator takes 0 for the simplest of what it can choose, and a stream that has ended gives zeros.

/// Choices, taken one after the other.
pub struct Choices {
    taken: Vec<u32>,
    at: usize,
    /// State of the random numbers; none where the stream just ends.
    random: Option<u64>,
}

impl Choices {
    /// Random choices; the same for the same seed.
    pub fn random(seed: u64) -> Choices {
        // splitmix64's first step: neighbouring seeds have nothing in common.
        let mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Choices { taken: Vec::new(), at: 0, random: Some(mixed ^ mixed >> 31 | 1) }
    }

    /// Given choices, then zeros.
    pub fn given(taken: Vec<u32>) -> Choices {
        Choices { taken, at: 0, random: None }
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        if self.at == self.taken.len() {
            let next = self.random.as_mut().map_or(0, |state| {
                // xorshift64*
                *state ^= *state >> 12;
                *state ^= *state << 25;
                *state ^= *state >> 27;
                (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as u32
            });
            self.taken.push(next);
        }
        let bound = bound.max(1);
        // Kept small, so that a shrunk stream reads well.
        let choice = self.taken[self.at] as usize % bound;
        self.taken[self.at] = choice as u32;
        self.at += 1;
        choice
    }

    /// True in one of `n` cases.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    /// One of several.
    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// What was chosen so far.
    pub fn taken(self) -> Vec<u32> {
        self.taken[..self.at].to_vec()
    }
}

/// The smallest stream found for which `fails` still holds, within a number of tries.
pub fn shrink(mut best: Vec<u32>, tries: usize, fails: &mut dyn FnMut(&[u32]) -> bool) -> Vec<u32> {
    let mut left = tries;
    let mut attempt = |candidate: Vec<u32>, best: &mut Vec<u32>, left: &mut usize| {
        if *left == 0 || candidate == *best {
            return false;
        }
        *left -= 1;
        let smaller = fails(&candidate);
        if smaller {
            *best = candidate;
        }
        smaller
    };
    loop {
        let before = best.clone();
        // Leave out runs of choices, long ones first.
        let mut length = best.len() / 2;
        while length > 0 {
            let mut at = 0;
            while at + length <= best.len() {
                let shorter = [&best[..at], &best[at + length..]].concat();
                if !attempt(shorter, &mut best, &mut left) {
                    at += length.div_ceil(2);
                }
            }
            length /= 2;
        }
        for at in 0..before.len() {
            for simpler in [0, 1] {
                if best.get(at).is_some_and(|choice| *choice > simpler) {
                    let mut candidate = best.clone();
                    candidate[at] = simpler;
                    if attempt(candidate, &mut best, &mut left) {
                        break;
                    }
                }
            }
        }
        if best == before || left == 0 {
            return best;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_says_it_all_and_choices_repeat() {
        let draw = |choices: &mut Choices| (0..20).map(|n| choices.below(n + 1)).collect::<Vec<_>>();
        let mut first = Choices::random(7);
        let drawn = draw(&mut first);
        assert_eq!(drawn, draw(&mut Choices::random(7)));
        assert_ne!(drawn, draw(&mut Choices::random(8)));
        assert_eq!(drawn, draw(&mut Choices::given(first.taken())));
        assert_eq!(Choices::given(Vec::new()).below(9), 0);
    }

    #[test]
    fn what_does_not_matter_goes() {
        let start: Vec<u32> = (0..100).collect();
        let found = shrink(start, 10_000, &mut |choices| choices.contains(&57) && choices.contains(&3));
        assert_eq!(found, [3, 57]);
    }
}
