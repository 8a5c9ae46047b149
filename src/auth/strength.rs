//! Whether a public key is strong enough: checked once, when a key set is loaded.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey, VerificationAlgorithm};

/// Why a public key is refused.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Weak {
    #[error("coordinates are not a point on the curve")]
    Curve,
    #[error("RSA exponent is even or below 65537")]
    Exponent,
    #[error("key has the wrong length")]
    Length,
    #[error("RSA modulus is even or not of 2048 to 8192 bits")]
    Modulus,
    #[error("RSA key was made by a library with a factorable prime structure (ROCA)")]
    Roca,
    #[error("Ed25519 point of small order or not in canonical form")]
    SmallOrder,
}

/// Checks an RSA key, given as big-endian `n` and `e` without leading zeros: 2048 to 8192 bits, odd, `e` odd and at least 65537
/// (RFC 8725 section 3.5, NIST SP 800-56B), and without the ROCA structure (CVE-2017-15361).
pub(super) fn rsa(n: &[u8], e: &[u8]) -> Result<(), Weak> {
    let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
    if !(2048..=8192).contains(&bits) || n.last().is_none_or(|byte| byte % 2 == 0) {
        return Err(Weak::Modulus);
    }
    let exponent = e.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    if e.len() > 4 || exponent < 65537 || exponent % 2 == 0 {
        return Err(Weak::Exponent);
    }
    if is_roca(n) { Err(Weak::Roca) } else { Ok(()) }
}

/// Whether a modulus has the ROCA structure: primes of the vulnerable library are `k·M + 65537^a mod M`, so modulo each small
/// prime the modulus is a power of 65537.
fn is_roca(n: &[u8]) -> bool {
    const PRIMES: [u32; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107,
        109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    PRIMES.iter().all(|prime| {
        let residue = n.iter().fold(0, |sum, byte| (sum << 8 | u32::from(*byte)) % prime);
        let mut power = 1;
        (0..*prime).any(|_| {
            power = power * (65537 % prime) % prime;
            power == residue
        })
    })
}

/// The curve an EC key is on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Curve {
    P256,
    P384,
}

/// Parses an uncompressed point `04 || x || y` on `curve`. Errs if it is not on it.
pub(super) fn ec(curve: Curve, point: &[u8]) -> Result<ParsedPublicKey, Weak> {
    let (algorithm, length): (&'static dyn VerificationAlgorithm, usize) = match curve {
        Curve::P256 => (&ECDSA_P256_SHA256_FIXED, 65),
        Curve::P384 => (&ECDSA_P384_SHA384_FIXED, 97),
    };
    if point.len() != length {
        return Err(Weak::Length);
    }
    ParsedPublicKey::new(algorithm, point).map_err(|_| Weak::Curve)
}

/// Checks that 32 bytes are a canonical point and not of small order, for which one signature is valid for many messages
/// (RFC 8032 section 8.9 leaves the check to the application).
pub(super) fn ed25519(x: &[u8]) -> Result<(), Weak> {
    let Ok(mut y) = <[u8; 32]>::try_from(x) else { return Err(Weak::Length) };
    y[31] &= 0x7f;
    // y >= p = 2^255 - 19, among them p and p + 1, the other spellings of 0 and 1
    let is_canonical = !(y[0] >= 0xed && y[1..31].iter().all(|byte| *byte == 0xff) && y[31] == 0x7f);
    if !is_canonical || SMALL_ORDER.contains(&y) { Err(Weak::SmallOrder) } else { Ok(()) }
}

/// Canonical `y` of the points of order 1, 2, 4 and 8, sign bit cleared.
const SMALL_ORDER: [[u8; 32]; 5] = {
    let mut one = [0; 32];
    one[0] = 1;
    let mut minus_one = [0xff; 32];
    minus_one[0] = 0xec;
    minus_one[31] = 0x7f;
    [
        [0; 32],
        one,
        minus_one,
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
            0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
            0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ]
};

#[cfg(test)]
mod tests {
    use super::{Curve, Weak, ec, ed25519, rsa};

    #[test]
    fn refuses_weak_rsa() {
        let mut n = vec![0xc3; 256];
        n[255] = 0x07;
        assert_eq!(rsa(&n, &[1, 0, 1]), Ok(()));
        for e in [&[1][..], &[3], &[17], &[1, 0, 0], &[1, 0, 2], &[0xff, 0xff], &[], &[1, 0, 0, 0, 1]] {
            assert_eq!(rsa(&n, e), Err(Weak::Exponent), "{e:?}");
        }
        n[0] = 0x7f;
        assert_eq!(rsa(&n, &[1, 0, 1]), Err(Weak::Modulus), "2047 bits");
        n[0] = 0x80;
        n[255] = 0x08;
        assert_eq!(rsa(&n, &[1, 0, 1]), Err(Weak::Modulus), "even");
        assert_eq!(rsa(&[0xff; 128], &[1, 0, 1]), Err(Weak::Modulus));
        assert_eq!(rsa(&[0xff; 1025], &[1, 0, 1]), Err(Weak::Modulus));
        assert_eq!(rsa(&[], &[1, 0, 1]), Err(Weak::Modulus));
    }

    #[test]
    fn refuses_points_off_the_curve() {
        let mut point = [1; 65];
        point[0] = 4;
        let why = |curve, point: &[u8]| ec(curve, point).map(drop);
        assert_eq!(why(Curve::P256, &point), Err(Weak::Curve));
        assert_eq!(why(Curve::P256, &point[..64]), Err(Weak::Length));
        assert_eq!(why(Curve::P384, &point), Err(Weak::Length));
        assert_eq!(why(Curve::P256, &[4; 65]), Err(Weak::Curve));
    }

    #[test]
    fn refuses_small_order_points_in_every_spelling() {
        let mut spelled = super::SMALL_ORDER.to_vec();
        for low in 0xed..=0xff {
            let mut y = [0xff; 32];
            y[0] = low;
            y[31] = 0x7f;
            spelled.push(y);
        }
        for mut y in spelled {
            assert_eq!(ed25519(&y), Err(Weak::SmallOrder), "{y:02x?}");
            y[31] |= 0x80;
            assert_eq!(ed25519(&y), Err(Weak::SmallOrder), "{y:02x?}");
        }
        assert_eq!(ed25519(&[9; 31]), Err(Weak::Length));
        assert_eq!(ed25519(&[9; 32]), Ok(()));
    }
}
