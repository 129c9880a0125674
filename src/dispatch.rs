//! The gates every command passes, and the three ways it can go.
