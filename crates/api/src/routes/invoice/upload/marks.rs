//! Marks of an upload's lines: hashes of its beginning, at more and more of its lines. They are
//! kept with its idempotency key before what they cover is written, and an attempt with other lines
//! meets one that differs before its own are.

use sha2::{Digest as _, Sha256};

use super::lines::Numbered;

/// Bytes of a mark: enough of a SHA-256 that two uploads do not have the same one.
const MARK: usize = 16;
/// Lines have a mark where their count has no more binary digits than this before its zeros: each
/// of the first 64, then every second up to 128, every fourth up to 256. So a thirty-second of an
/// upload at most lies between two, and one of a billion lines has some 850.
const DIGITS: u32 = 6;

/// The marks of one upload.
pub(super) struct Marks {
    hasher: Sha256,
    /// That were read.
    lines: u64,
    /// Of this attempt and of those before it.
    marks: Vec<[u8; MARK]>,
    /// How many of them this attempt has come to.
    met: usize,
    /// How many of them are kept.
    kept: usize,
}

/// The attempts before were of another upload: the line at which it shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Differs(pub(super) u64);

impl Marks {
    /// With what [`Marks::to_keep`] gave before.
    pub(super) fn new(kept: &[u8]) -> Self {
        let mark = |bytes: &[u8]| {
            let mut mark = [0; MARK];
            mark.copy_from_slice(bytes);
            mark
        };
        let marks: Vec<_> = kept.chunks_exact(MARK).map(mark).collect();
        Self {
            hasher: Sha256::new(),
            lines: 0,
            kept: marks.len(),
            marks,
            met: 0,
        }
    }

    /// The next line of this attempt.
    pub(super) fn read(&mut self, line: &Numbered) -> Result<(), Differs> {
        self.hasher.update(line.number.to_be_bytes());
        // None is one that was too long to be kept, whatever stands in it: nothing of it is stored.
        let length = line
            .text
            .as_ref()
            .map_or(u64::MAX, |text| text.len() as u64);
        self.hasher.update(length.to_be_bytes());
        self.hasher.update(line.text.as_deref().unwrap_or_default());
        self.lines += 1;
        let digits = u64::BITS - self.lines.leading_zeros() - self.lines.trailing_zeros();
        if digits > DIGITS {
            return Ok(());
        }
        let mut mark = [0; MARK];
        mark.copy_from_slice(&self.hasher.clone().finalize()[..MARK]);
        match self.marks.get(self.met) {
            Some(before) if *before != mark => return Err(Differs(line.number)),
            Some(_) => {}
            None => self.marks.push(mark),
        }
        self.met += 1;
        Ok(())
    }

    /// Whether this attempt, which has ended, is shorter than one before it.
    pub(super) fn are_missing(&self) -> bool {
        self.met < self.marks.len()
    }

    /// All marks, if some of them are not kept yet; they count as kept from then on.
    pub(super) fn take_fresh(&mut self) -> Option<Vec<u8>> {
        let fresh = self.marks.len() > self.kept;
        self.kept = self.marks.len();
        fresh.then(|| self.marks.concat())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line(number: u64, text: &str) -> Numbered {
        Numbered {
            number,
            text: Some(text.to_owned().into()),
        }
    }

    fn read(marks: &mut Marks, lines: u64, differs: Option<u64>) -> Result<(), Differs> {
        (1..=lines).try_for_each(|number| {
            let text = if differs == Some(number) { "x" } else { "y" };
            marks.read(&line(number, text))
        })
    }

    #[test]
    fn another_upload_shows_at_the_line_and_never_later_than_a_thirty_second_on() {
        let mut first = Marks::new(&[]);
        read(&mut first, 10_000, None).unwrap();
        let kept = first.take_fresh().unwrap();
        assert!(kept.len() < 400 * MARK, "{}", kept.len());
        assert_eq!(first.take_fresh(), None);
        for differs in [1, 2, 33, 64, 65, 100, 1_000, 7_777, 9_000] {
            let mut second = Marks::new(&kept);
            let Differs(at) = read(&mut second, 10_000, Some(differs)).unwrap_err();
            assert!(
                (differs..=differs + differs / 32).contains(&at),
                "{differs} {at}"
            );
            assert!(differs > 64 || at == differs);
        }
    }

    #[test]
    fn the_same_upload_goes_on_from_wherever_it_broke_off() {
        let mut first = Marks::new(&[]);
        read(&mut first, 100, None).unwrap();
        let kept = first.take_fresh().unwrap();
        let mut shorter = Marks::new(&kept);
        read(&mut shorter, 50, None).unwrap();
        assert_eq!(shorter.take_fresh(), None);
        assert!(shorter.are_missing());
        let mut longer = Marks::new(&kept);
        read(&mut longer, 200, None).unwrap();
        assert!(!longer.are_missing());
        let more = longer.take_fresh().unwrap();
        assert!(more.starts_with(&kept) && more.len() > kept.len());
    }

    #[test]
    fn what_stands_between_lines_and_lines_that_are_too_long_count() {
        let mark = |lines: &[Numbered]| {
            let mut marks = Marks::new(&[]);
            lines.iter().for_each(|line| marks.read(line).unwrap());
            marks.take_fresh().unwrap()
        };
        let of = mark(&[line(1, "ab"), line(2, "c")]);
        assert_ne!(of, mark(&[line(1, "a"), line(2, "bc")]));
        assert_ne!(of, mark(&[line(1, "ab"), line(3, "c")]));
        let long = Numbered {
            number: 1,
            text: None,
        };
        assert_ne!(mark(&[long]), mark(&[line(1, "")]));
    }
}
