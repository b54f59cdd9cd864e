//! Receipts as bytes, for the stores to keep beside idempotency keys and producer lines.
//!
//! The format, all numbers LEB128: a receipt is `transaction+1 (0: none)`, `head seq+1 (0: no
//! head)`, `head transaction` if there is one, the number of acks, and for each ack `seq*2 +
//! duplicate` and its transaction. A list of receipts is their concatenation.

use smallvec::SmallVec;

use super::command::{Ack, Receipt};
use super::position::{Seq, TransactionNo, Version};

/// Writes receipts one after the other.
#[must_use]
pub fn encode<'a>(receipts: impl IntoIterator<Item = &'a Receipt>) -> Vec<u8> {
    let mut out = Vec::new();
    for receipt in receipts {
        put(&mut out, receipt.transaction.map_or(0, |n| n.0 + 1));
        put(&mut out, receipt.head.map_or(0, |head| head.seq.0 + 1));
        if let Some(head) = receipt.head {
            put(&mut out, head.transaction.0);
        }
        put(&mut out, receipt.acks.len() as u64);
        for ack in &receipt.acks {
            put(&mut out, ack.version.seq.0 * 2 + u64::from(ack.duplicate));
            put(&mut out, ack.version.transaction.0);
        }
    }
    out
}

/// Reads receipts back, marked as replayed; `None` where the bytes are not what
/// [`encode`] wrote.
#[must_use]
pub fn decode(mut bytes: &[u8]) -> Option<Vec<Receipt>> {
    let mut receipts = Vec::new();
    while !bytes.is_empty() {
        let transaction = take(&mut bytes)?.checked_sub(1).map(TransactionNo);
        let head = match take(&mut bytes)?.checked_sub(1) {
            Some(seq) => Some(version(seq, take(&mut bytes)?)),
            None => None,
        };
        let mut acks = SmallVec::new();
        for _ in 0..take(&mut bytes)? {
            let (seq, transaction) = (take(&mut bytes)?, take(&mut bytes)?);
            acks.push(Ack { version: version(seq / 2, transaction), duplicate: seq % 2 == 1 });
        }
        receipts.push(Receipt { transaction, acks, head, replayed: true });
    }
    Some(receipts)
}

fn version(seq: u64, transaction: u64) -> Version {
    Version { seq: Seq(seq), transaction: TransactionNo(transaction) }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_come_back_as_they_were_but_replayed() {
        let ack =
            |seq, transaction, duplicate| Ack { version: version(seq, transaction), duplicate };
        let mut receipts = vec![
            Receipt {
                transaction: Some(TransactionNo(0)),
                acks: [ack(0, 0, false), ack((1 << 53) - 1, 300, true)].into_iter().collect(),
                head: Some(version(127, 128)),
                replayed: false,
            },
            Receipt { transaction: None, acks: SmallVec::new(), head: None, replayed: false },
        ];
        let bytes = encode(&receipts);
        receipts.iter_mut().for_each(|receipt| receipt.replayed = true);
        assert_eq!(decode(&bytes), Some(receipts));
        for cut in 1..bytes.len() - 3 {
            assert_eq!(decode(&bytes[..cut]), None, "cut at {cut}");
        }
        assert_eq!(decode(&[0xff; 20]), None);
        assert_eq!(decode(&[0x00, 0x00, 0xff, 0xff, 0xff, 0x7f]), None, "no room is trusted");
    }
}
