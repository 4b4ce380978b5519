//! WebAssembly plugins: hostile ones, and changes while events pass.

mod hostile;
mod python;
mod rust;
mod swap;
