//! What an expression is worth, and what makes it one.
//!
//! ```text
//! expression = digit | operator expression expression+ "]"
//! ```
//!
//! MIN and MAX are the least and greatest argument, SM the sum modulo 10, MED the
//! median: for an even number of arguments the mean of the two middle ones, truncated.
//! (Nangia and Bowman, "ListOps", 2018, arXiv:1804.06028; MED and SM as in the Long
//! Range Arena.) All four depend on how often each digit occurs among the arguments and
//! on nothing else, so a [`Tally`] of ten counters is all that is kept of them.

use super::vocabulary::{CLOSE, Operator, TOKENS};
use std::fmt;

/// Deeper nesting is refused: it bounds what a malformed file can make a reader keep.
pub const MAX_NESTING: usize = 10_000;

/// How often each digit occurs among the arguments of an operator.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally([u32; 10]);

impl Tally {
    /// Counts one argument, a digit.
    pub fn add(&mut self, digit: u8) {
        self.0[usize::from(digit)] += 1;
    }

    pub fn arguments(&self) -> u64 {
        self.0.iter().map(|&count| u64::from(count)).sum()
    }

    /// The operator's value on the counted arguments, of which there is at least one.
    pub fn apply(&self, operator: Operator) -> u8 {
        match operator {
            Operator::Min => self.ranked(0),
            Operator::Max => self.ranked(self.arguments().saturating_sub(1)),
            Operator::Med => {
                let n = self.arguments();
                (self.ranked(n.saturating_sub(1) / 2) + self.ranked(n / 2)) / 2
            }
            Operator::Sm => {
                let sum: u64 = (0..).zip(self.0).map(|(digit, n)| digit * u64::from(n)).sum();
                (sum % 10) as u8
            }
        }
    }

    /// The argument at `rank`, 0 the least.
    fn ranked(&self, rank: u64) -> u8 {
        let mut below = 0;
        for (digit, &count) in (0..).zip(&self.0) {
            below += u64::from(count);
            if rank < below {
                return digit;
            }
        }
        0
    }
}

/// Evaluates symbol by symbol; keeps ten counters for each open operator.
#[derive(Debug, Default)]
pub struct Evaluator {
    open: Vec<(Operator, Tally)>,
    value: Option<u8>,
}

impl Evaluator {
    pub fn push(&mut self, symbol: u8) -> Result<(), Fault> {
        if self.value.is_some() {
            return Err(Fault::AfterEnd(symbol));
        }
        if let Some(operator) = Operator::from_symbol(symbol) {
            if self.open.len() == MAX_NESTING {
                return Err(Fault::TooDeep);
            }
            self.open.push((operator, Tally::default()));
            return Ok(());
        }
        let digit = match symbol {
            0..10 => symbol,
            CLOSE => {
                let (operator, tally) = self.open.pop().ok_or(Fault::StrayClose)?;
                if tally.arguments() < 2 {
                    return Err(Fault::TooFew(operator, tally.arguments()));
                }
                tally.apply(operator)
            }
            _ => return Err(Fault::NoSymbol(symbol)),
        };
        match self.open.last_mut() {
            Some((_, tally)) => tally.add(digit),
            None => self.value = Some(digit),
        }
        Ok(())
    }

    /// The value of what was pushed; the evaluator is empty again.
    pub fn finish(&mut self) -> Result<u8, Fault> {
        let (open, value) = (self.open.len(), self.value.take());
        self.open.clear();
        value.ok_or(if open > 0 { Fault::Unclosed(open) } else { Fault::Empty })
    }
}

/// The value of a whole expression.
pub fn evaluate(symbols: &[u8]) -> Result<u8, Fault> {
    let mut evaluator = Evaluator::default();
    symbols.iter().try_for_each(|&symbol| evaluator.push(symbol))?;
    evaluator.finish()
}

/// Why a sequence of symbols is no expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Empty,
    AfterEnd(u8),
    StrayClose,
    Unclosed(usize),
    TooFew(Operator, u64),
    TooDeep,
    NoSymbol(u8),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "no expression; expected a digit or an operator"),
            Self::AfterEnd(symbol) => {
                let token = TOKENS.get(usize::from(*symbol)).unwrap_or(&"?");
                write!(f, "`{token}` after the end of the expression; expected nothing more")
            }
            Self::StrayClose => write!(f, "`]` without an open operator; unbalanced brackets"),
            Self::Unclosed(open) => {
                write!(f, "the expression ends with {open} unclosed; expected `]`")
            }
            Self::TooFew(operator, n) => write!(
                f,
                "`{}` closed after {n} argument{}; expected at least 2",
                operator.token(),
                if *n == 1 { "" } else { "s" }
            ),
            Self::TooDeep => write!(f, "more than {MAX_NESTING} operators open; expected fewer"),
            Self::NoSymbol(symbol) => write!(f, "{symbol} is no symbol; expected 0 to {CLOSE}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::vocabulary::symbol;
    use super::*;

    fn value(text: &str) -> Result<u8, Fault> {
        let symbols: Vec<u8> =
            text.split_whitespace().map(|t| symbol(t.as_bytes()).unwrap()).collect();
        evaluate(&symbols)
    }

    #[test]
    fn values_by_hand() {
        for (text, expected) in [
            ("7", 7),
            ("[MIN 4 2 9 ]", 2),
            ("[MAX 4 2 9 ]", 9),
            ("[SM 4 2 9 ]", 5),
            ("[SM 5 5 ]", 0),
            ("[MED 9 1 5 ]", 5),
            ("[MED 9 9 0 ]", 9),
            // Even: the mean of the middle two, truncated.
            ("[MED 1 2 ]", 1),
            ("[MED 9 0 ]", 4),
            ("[MED 8 1 4 3 ]", 3),
            ("[MED 0 0 9 9 ]", 4),
            ("[MED 8 2 4 6 ]", 5),
            ("[MED 7 7 7 7 ]", 7),
            ("[MAX 2 [MIN 8 9 ] [SM 9 9 [MED 3 6 ] ] 1 ]", 8),
            ("[SM [SM 9 9 ] [SM 9 9 ] [MAX 0 0 ] ]", 6),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_expression() {
        for (text, fault) in [
            ("", Fault::Empty),
            ("1 2", Fault::AfterEnd(2)),
            ("[MAX 1 2 ] ]", Fault::AfterEnd(CLOSE)),
            ("]", Fault::StrayClose),
            ("[MAX 1 [MIN 2 3 ]", Fault::Unclosed(1)),
            ("[MAX [MIN", Fault::Unclosed(2)),
            ("[MED ]", Fault::TooFew(Operator::Med, 0)),
            ("[SM 4 ]", Fault::TooFew(Operator::Sm, 1)),
        ] {
            assert_eq!(value(text), Err(fault), "{text}");
        }
        assert_eq!(evaluate(&[15]), Err(Fault::NoSymbol(15)));
        assert_eq!(evaluate(&[10; MAX_NESTING]), Err(Fault::Unclosed(MAX_NESTING)));
        assert_eq!(evaluate(&[10; MAX_NESTING + 1]), Err(Fault::TooDeep));
    }

    #[test]
    fn an_evaluator_is_empty_after_finish() {
        let mut evaluator = Evaluator::default();
        for symbol in [10, 3] {
            evaluator.push(symbol).unwrap();
        }
        assert_eq!(evaluator.finish(), Err(Fault::Unclosed(1)));
        evaluator.push(5).unwrap();
        assert_eq!(evaluator.finish(), Ok(5));
        assert_eq!(evaluator.finish(), Err(Fault::Empty));
    }
}
