//! The eBPF instruction set: registers, opcodes, helpers, encoder, decoder, disassembler.
