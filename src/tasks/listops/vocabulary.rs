//! The 15 tokens of ListOps, in a fixed order.
//!
//! | model id | 0 | 1..=10 | 11 | 12 | 13 | 14 | 15 | 16 |
//! |---|---|---|---|---|---|---|---|---|
//! | token | padding | `0`..`9` | `[MIN` | `[MAX` | `[MED` | `[SM` | `]` | out of vocabulary |
//!
//! Packed files keep symbols, id - 1. Google's pipeline numbers the tokens in the order
//! of a Python set, which differs from process to process; only the count of 17 ids is
//! taken over. No reader here yields id 16: an unknown token is an error.

/// Model ids: padding, 15 tokens, out of vocabulary.
pub const VOCABULARY: usize = 17;
/// Labels 0 to 9.
pub const CLASSES: usize = 10;
/// Model id of symbol 0.
pub const FIRST_ID: u32 = 1;
/// The symbol that ends an operator's arguments.
pub const CLOSE: u8 = 14;

/// The tokens, by symbol.
pub const TOKENS: [&str; 15] =
    ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "[MIN", "[MAX", "[MED", "[SM", "]"];

/// An operator; it opens a list of at least two arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Min,
    Max,
    Med,
    /// Sum modulo 10.
    Sm,
}

impl Operator {
    pub const ALL: [Self; 4] = [Self::Min, Self::Max, Self::Med, Self::Sm];

    pub fn symbol(self) -> u8 {
        10 + self as u8
    }

    pub fn from_symbol(symbol: u8) -> Option<Self> {
        Self::ALL.get(usize::from(symbol.checked_sub(10)?)).copied()
    }

    pub fn token(self) -> &'static str {
        TOKENS[usize::from(self.symbol())]
    }
}

/// The symbol of a token, as it is spelled in a file.
pub fn symbol(token: &[u8]) -> Option<u8> {
    match token {
        [digit @ b'0'..=b'9'] => Some(digit - b'0'),
        b"]" => Some(CLOSE),
        b"[MIN" => Some(10),
        b"[MAX" => Some(11),
        b"[MED" => Some(12),
        b"[SM" => Some(13),
        _ => None,
    }
}

/// Symbols as text, with single spaces and without parentheses.
pub fn decode(symbols: &[u8]) -> String {
    let mut text = String::with_capacity(3 * symbols.len());
    for (i, &symbol) in symbols.iter().enumerate() {
        if i > 0 {
            text.push(' ');
        }
        text.push_str(TOKENS.get(usize::from(symbol)).copied().unwrap_or("?"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_and_order_agree() {
        for (i, token) in TOKENS.iter().enumerate() {
            assert_eq!(symbol(token.as_bytes()), Some(i as u8), "{token}");
            let operator = Operator::from_symbol(i as u8);
            assert_eq!(operator.is_some(), (10..14).contains(&i));
            if let Some(operator) = operator {
                assert_eq!((operator.symbol(), operator.token()), (i as u8, *token));
            }
        }
        assert_eq!(Operator::Sm.token(), "[SM");
        assert_eq!(VOCABULARY, 1 + TOKENS.len() + 1);
        for odd in ["", "10", "[", "[mAX", "[FIRST", "MAX", "X", "]]", "-1"] {
            assert_eq!(symbol(odd.as_bytes()), None, "{odd}");
        }
        assert_eq!(decode(&[11, 2, 9, 14]), "[MAX 2 9 ]");
    }
}
