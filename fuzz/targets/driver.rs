//! Runs a target: under libFuzzer with the feature of that name, else over files, else over inputs made here.

/// Defines the entry for the target `$run`, a function of bytes, and what its made inputs are put together from.
macro_rules! target {
    ($run:path, $parts:expr) => {
        #[cfg(feature = "libfuzzer")]
        libfuzzer_sys::fuzz_target!(|input: &[u8]| $run(input));

        #[cfg(not(feature = "libfuzzer"))]
        fn main() {
            driver::replay($run, &$parts);
        }
    };
}

/// Runs every file named on the command line, or twenty thousand inputs put together from `parts`.
#[cfg(not(feature = "libfuzzer"))]
pub fn replay(run: fn(&[u8]), parts: &[&[u8]]) {
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    for file in &files {
        run(&std::fs::read(file).expect("a file that can be read"));
    }
    if !files.is_empty() {
        return;
    }
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap_or(0)
    };
    for _ in 0..20_000 {
        let mut input = Vec::new();
        for _ in 0..next() % 24 {
            match next() % 8 {
                0 => input.push(u8::try_from(next() % 256).unwrap_or(0)),
                _ => input.extend_from_slice(parts[next() % parts.len()]),
            }
        }
        run(&input);
    }
    println!("20,000 inputs");
}
