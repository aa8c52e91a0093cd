// SPDX-License-Identifier: GPL-2.0
//! Numbers that follow from a seed, the same on every machine.

use fastrand::Rng;

/// The numbers of a sequence.
pub fn of_sequence(seed: u64, sequence: u64) -> Rng {
    Rng::with_seed(Rng::with_seed(seed).u64(..) ^ sequence)
}

/// A random index. An index is chosen in proportion to its weight.
pub fn weighted(random: &mut Rng, weights: &[u64]) -> usize {
    let mut at = random.u64(..weights.iter().sum::<u64>());
    for (index, &weight) in weights.iter().enumerate() {
        if at < weight {
            return index;
        }
        at -= weight;
    }
    0
}
