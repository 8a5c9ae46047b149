//! Addresses of cryptocurrency wallets.

mod keccak;

use aws_lc_rs::digest::{SHA256, digest};

use super::{Hit, Text};

/// Bitcoin addresses (`Base58Check`, and Bech32 of BIP 173 and BIP 350) and Ethereum addresses (EIP-55), by their checksums.
pub(in crate::mask) fn wallet(text: &Text<'_>, first: usize) -> Option<Hit> {
    let run = *text.runs.get(first)?;
    let digits = text.digits(run);
    let start = match (digits, text.byte(run.end)) {
        (b"0", Some(b'x' | b'X')) => run.start,
        (_, Some(after)) if after.is_ascii_alphanumeric() => match digits.first() {
            Some(b'1') if text.word_before(run.start) => run.start.checked_sub(2)?,
            Some(b'1' | b'3') => run.start,
            _ => return None,
        },
        _ => return None,
    };
    let word = text.bytes().get(start..)?.iter().take(LONGEST + 1).take_while(|b| b.is_ascii_alphanumeric()).count();
    let end = start + word;
    if !(SHORTEST..=LONGEST).contains(&word) || text.word_before(start) || text.word_after(end) {
        return None;
    }
    let address = text.bytes().get(start..end)?;
    let valid = match address {
        [b'0', _, hex @ ..] => is_ethereum(hex),
        [b'1' | b'3', ..] => is_base58(address),
        _ => is_bech32(address),
    };
    valid.then(|| Hit { start, end, last: text.last_run(first, end) })
}

const SHORTEST: usize = 14;
const LONGEST: usize = 90;

/// Whether it is twenty bytes in hexadecimal; in mixed case, with the checksum of EIP-55: upper case where the hash of the
/// lower-case form has its high bit set.
fn is_ethereum(hex: &[u8]) -> bool {
    if hex.len() != 40 || !hex.iter().all(u8::is_ascii_hexdigit) {
        return false;
    }
    let lower = hex.to_ascii_lowercase();
    if hex == lower || hex == hex.to_ascii_uppercase() {
        // A repeated digit is a placeholder.
        return hex.iter().any(|b| *b != hex[0]);
    }
    let hash = keccak::hash(&lower);
    hex.iter().enumerate().filter(|(_, b)| b.is_ascii_alphabetic()).all(|(place, b)| {
        let nibble = hash[place / 2] >> (if place % 2 == 0 { 4 } else { 0 }) & 0xf;
        b.is_ascii_uppercase() == (nibble >= 8)
    })
}

/// Whether it is `Base58Check`: a version byte of the main network, twenty bytes, and the first four bytes of the double
/// SHA-256 of both.
fn is_base58(address: &[u8]) -> bool {
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    const LENGTH: usize = 25;
    if !(25..=35).contains(&address.len()) {
        return false;
    }
    let mut bytes = [0_u8; LENGTH];
    for character in address {
        let Some(mut carry) = ALPHABET.iter().position(|known| known == character) else { return false };
        for byte in bytes.iter_mut().rev() {
            carry += usize::from(*byte) * 58;
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        if carry != 0 {
            return false;
        }
    }
    let (payload, check) = bytes.split_at(LENGTH - 4);
    let zeros = address.iter().take_while(|b| **b == b'1').count();
    let twice = digest(&SHA256, digest(&SHA256, payload).as_ref());
    matches!(payload[0], 0 | 5)
        && zeros == bytes.iter().take_while(|b| **b == 0).count()
        && twice.as_ref().starts_with(check)
}

/// Whether it is a segregated witness address (BIP 173), with the constant of BIP 350 for versions after 0.
fn is_bech32(address: &[u8]) -> bool {
    const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let lower = address.to_ascii_lowercase();
    if address != lower && address != address.to_ascii_uppercase() {
        return false;
    }
    let Some((prefix @ (b"bc" | b"tb"), [b'1', data @ ..])) = lower.split_at_checked(2) else { return false };
    let values: Option<Vec<u8>> = data
        .iter()
        .map(|b| ALPHABET.iter().position(|known| known == b).and_then(|value| u8::try_from(value).ok()))
        .collect();
    let Some(values) = values.filter(|values| (8..=84).contains(&values.len())) else { return false };
    let expanded = prefix.iter().map(|b| b >> 5).chain([0]).chain(prefix.iter().map(|b| b & 31));
    let checksum = expanded.chain(values.iter().copied()).fold(1_u32, |sum, value| {
        let folded = (sum & 0x1ff_ffff) << 5 ^ u32::from(value);
        GENERATOR.iter().enumerate().fold(
            folded,
            |folded, (bit, term)| {
                if sum >> 25 >> bit & 1 == 1 { folded ^ term } else { folded }
            },
        )
    });
    let program = (values.len() - 7) * 5 / 8;
    let (version, constant) = (values[0], if values[0] == 0 { 1 } else { 0x2bc8_30a3 });
    version <= 16 && (2..=40).contains(&program) && (version != 0 || matches!(program, 20 | 32)) && {
        // Addresses from before BIP 350 have the older constant in every version.
        checksum == constant || version > 0 && checksum == 1
    }
}

#[cfg(test)]
mod tests {
    use super::super::cases::{check_no_numbers, check_numbers};
    use super::wallet;

    #[test]
    fn finds_wallets() {
        check_numbers(
            wallet,
            &[
                ("16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ", "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ"),
                ("to 3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy.", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy"),
                ("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"),
                (
                    "bc1p5d7rjq7g6rdk2yhzks9smlaqtedr4dekq08ge8ztwac72sfr9rusxg3297",
                    "bc1p5d7rjq7g6rdk2yhzks9smlaqtedr4dekq08ge8ztwac72sfr9rusxg3297",
                ),
                ("BC1QARDV855YJNGSPVXUTTQ897AQCA3LXJU2Y69JCE", "BC1QARDV855YJNGSPVXUTTQ897AQCA3LXJU2Y69JCE"),
                ("eth 0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed,", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"),
                ("0xfb6916095ca1df60bb79ce92ce3ea74c37c5d359", "0xfb6916095ca1df60bb79ce92ce3ea74c37c5d359"),
            ],
        );
    }

    #[test]
    fn leaves_what_only_looks_like_one() {
        check_no_numbers(
            wallet,
            &[
                "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ2",
                "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1Boyz",
                "8f953371d3e85eddb89b05ed6b9e680791055315c73e1025ab5dba7bb2aee189",
                "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD",
                "0x0000000000000000000000000000000000000000",
                "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeA",
                "0xdeadbeef",
                "bc1qardv855yjngspvxuttq897aqca3lxju2y69jzz",
                "bc1qv93xxeqnnq0uz",
                "1NEDqZPvTWRaoho48qXu==srYomMXPABfD",
                "gzXESMi1caU4L4CWEV96kQMkn5TKLsMzuX",
                "da39a3ee5e6b4b0d3255bfef95601890afd80709",
                "[CRYPTO]",
            ],
        );
    }
}
