//! What is written, and what has been acknowledged: enough to tell for any key which values it may have.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes at the start of a value that say whose it is: the key's number (8), the sequence number of the write (4).
const HEADER_BYTES: usize = 12;

/// Keys `key:000000000000` on, and values that no compressor shortens, all from one seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) seed: u64,
    pub(crate) keys: u64,
    pub(crate) value_bytes: usize,
}

impl Workload {
    /// Appends the name of key `number`, always 16 bytes for less than 10^12 keys.
    pub(crate) fn key(number: u64, out: &mut Vec<u8>) {
        let mut digits = *b"key:000000000000";
        let mut rest = number;
        for digit in digits[4..].iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).expect("a remainder of ten is a digit");
            rest /= 10;
        }
        assert!(rest == 0, "key {number} has more than 12 digits");
        out.extend_from_slice(&digits);
    }

    /// Appends the value that write `sequence` gives to key `number`.
    pub(crate) fn value(&self, number: u64, sequence: u32, out: &mut Vec<u8>) {
        let end = out.len() + self.value_bytes;
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&sequence.to_le_bytes());
        let mut state = mix(self.seed ^ mix(number) ^ u64::from(sequence).rotate_left(32));
        while out.len() < end {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let word = mix(state).to_le_bytes();
            let take = word.len().min(end - out.len());
            out.extend_from_slice(&word[..take]);
        }
    }

    /// The sequence number of the write that gave `value` to key `number`; `None` if no write did. `scratch` is reused.
    pub(crate) fn sequence_of(&self, number: u64, value: &[u8], scratch: &mut Vec<u8>) -> Option<u32> {
        let sequence = u32::from_le_bytes(value.get(8..HEADER_BYTES)?.try_into().ok()?);
        scratch.clear();
        self.value(number, sequence, scratch);
        (scratch == value).then_some(sequence)
    }
}

/// The finalizer of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Per key the last write that was sent and the last one acknowledged. Each key has one writer, and its writes carry
/// rising numbers: so what the server holds must lie between the two. Number 0 means none.
///
/// On disk: one line of text that names the workload, then per key `sent` and `acknowledged`, 4 bytes each,
/// little-endian.
pub(crate) struct Ledger {
    pub(crate) workload: Workload,
    sent: Vec<AtomicU32>,
    acknowledged: Vec<AtomicU32>,
}

impl Ledger {
    pub(crate) fn new(workload: Workload) -> Self {
        let zeros = || (0..workload.keys).map(|_| AtomicU32::new(0)).collect();
        Self { workload, sent: zeros(), acknowledged: zeros() }
    }

    fn title(workload: &Workload) -> String {
        let Workload { seed, keys, value_bytes } = workload;
        format!("sisyphusdb load ledger 1: seed {seed} keys {keys} value-bytes {value_bytes}\n")
    }

    /// Reads what an earlier run has saved. It must be of the same workload.
    pub(crate) fn load(path: &Path, workload: &Workload) -> io::Result<Self> {
        let mut file = BufReader::new(File::open(path)?);
        let expected = Self::title(workload);
        let mut title = vec![0; expected.len()];
        file.read_exact(&mut title)?;
        if title != expected.as_bytes() {
            let found = String::from_utf8_lossy(&title).into_owned();
            return Err(io::Error::other(format!("{} is of another workload: {found}", path.display())));
        }
        let ledger = Self::new(*workload);
        for (sent, acknowledged) in ledger.sent.iter().zip(&ledger.acknowledged) {
            let mut word = [0; 4];
            file.read_exact(&mut word)?;
            sent.store(u32::from_le_bytes(word), Ordering::Relaxed);
            file.read_exact(&mut word)?;
            acknowledged.store(u32::from_le_bytes(word), Ordering::Relaxed);
        }
        Ok(ledger)
    }

    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(Self::title(&self.workload).as_bytes())?;
        for (sent, acknowledged) in self.sent.iter().zip(&self.acknowledged) {
            file.write_all(&sent.load(Ordering::Relaxed).to_le_bytes())?;
            file.write_all(&acknowledged.load(Ordering::Relaxed).to_le_bytes())?;
        }
        file.flush()
    }

    /// The number of the next write of key `number`, which counts as sent from now on.
    pub(crate) fn send(&self, number: u64) -> u32 {
        self.sent[index(number)].fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn acknowledge(&self, number: u64, sequence: u32) {
        let before = self.acknowledged[index(number)].swap(sequence, Ordering::Relaxed);
        assert!(before < sequence, "key {number} was acknowledged out of order: {before}, then {sequence}");
    }

    /// A client has read this write, which no crash may take back then.
    pub(crate) fn observe(&self, number: u64, sequence: u32) {
        self.acknowledged[index(number)].fetch_max(sequence, Ordering::Relaxed);
    }

    /// The last write of key `number` that was acknowledged, and the last that was sent.
    pub(crate) fn bounds(&self, number: u64) -> (u32, u32) {
        let at = index(number);
        (self.acknowledged[at].load(Ordering::Relaxed), self.sent[at].load(Ordering::Relaxed))
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("a ledger is in memory, so its keys can be counted in a usize")
}
