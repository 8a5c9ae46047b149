//! Keccak-256 as used by Ethereum, which is not SHA3-256: the padding differs, and no dependency provides it.

const LANES: usize = 25;
/// The bytes of a block.
const RATE: usize = 136;
const ROUNDS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];
/// The steps of rho and pi: the destination of each lane, and its rotation.
const STEPS: [(usize, u32); 24] = [
    (10, 1),
    (7, 3),
    (11, 6),
    (17, 10),
    (18, 15),
    (3, 21),
    (5, 28),
    (16, 36),
    (8, 45),
    (21, 55),
    (24, 2),
    (4, 14),
    (15, 27),
    (23, 41),
    (19, 56),
    (13, 8),
    (12, 25),
    (2, 43),
    (20, 62),
    (14, 18),
    (22, 39),
    (9, 61),
    (6, 20),
    (1, 44),
];

/// The hash of `message`, which must be shorter than one block.
pub(super) fn hash(message: &[u8]) -> [u8; 32] {
    let mut block = [0; RATE];
    let length = message.len().min(RATE - 1);
    block[..length].copy_from_slice(&message[..length]);
    block[length] = 1;
    block[RATE - 1] |= 0x80;
    let mut state = [0; LANES];
    for (lane, bytes) in state.iter_mut().zip(block.as_chunks::<8>().0) {
        *lane = u64::from_le_bytes(*bytes);
    }
    for round in ROUNDS {
        permute(&mut state, round);
    }
    let mut hash = [0; 32];
    for (bytes, lane) in hash.chunks_mut(8).zip(state) {
        bytes.copy_from_slice(&lane.to_le_bytes());
    }
    hash
}

fn permute(state: &mut [u64; LANES], round: u64) {
    let columns: [u64; 5] = std::array::from_fn(|x| (0..5).fold(0, |sum, y| sum ^ state[x + 5 * y]));
    for (place, lane) in state.iter_mut().enumerate() {
        *lane ^= columns[(place + 4) % 5] ^ columns[(place + 1) % 5].rotate_left(1);
    }
    let mut carried = state[1];
    for (to, turn) in STEPS {
        carried = std::mem::replace(&mut state[to], carried.rotate_left(turn));
    }
    for row in state.chunks_mut(5) {
        let old: [u64; 5] = std::array::from_fn(|x| row[x]);
        for (x, lane) in row.iter_mut().enumerate() {
            *lane = old[x] ^ (!old[(x + 1) % 5] & old[(x + 2) % 5]);
        }
    }
    state[0] ^= round;
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn agrees_with_known_hashes() {
        let hex = |message: &str| data_encoding::HEXLOWER.encode(&hash(message.as_bytes()));
        assert_eq!(hex(""), "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
        assert_eq!(hex("abc"), "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45");
    }
}
