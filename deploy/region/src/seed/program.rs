//! A static Linux program that prints one line and ends: an ELF header and two system calls.

/// The processor that a program is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Machine {
    Amd64,
    Arm64,
}

/// Where the program lies in memory. Its file is one segment that starts there.
const BASE: u64 = 0x40_0000;
const ELF_HEADER_BYTES: u16 = 64;
const PROGRAM_HEADER_BYTES: u16 = 56;
const CODE: u64 = (ELF_HEADER_BYTES + PROGRAM_HEADER_BYTES) as u64;

/// The program that writes `greeting` to standard output and exits with 0.
pub(super) fn program(machine: Machine, greeting: &str) -> Vec<u8> {
    let length = greeting.len() as u32;
    let (code, number) = match machine {
        Machine::Amd64 => (amd64(length), 62_u16),
        Machine::Arm64 => (arm64(length), 183),
    };
    let size = CODE + code.len() as u64 + u64::from(length);
    let mut file = Vec::new();
    // ELF64 header: little endian, System V, executable (2), version 1, entry, program headers at 64.
    file.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    put(&mut file, &[&2_u16.to_le_bytes(), &number.to_le_bytes(), &1_u32.to_le_bytes()]);
    put(
        &mut file,
        &[&(BASE + CODE).to_le_bytes(), &u64::from(ELF_HEADER_BYTES).to_le_bytes(), &[0; 8], &[0; 4]],
    );
    for half in [ELF_HEADER_BYTES, PROGRAM_HEADER_BYTES, 1, 0, 0, 0] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    // Program header: loadable (1), readable and executable (5), the whole file, aligned to 64 KiB.
    put(&mut file, &[&1_u32.to_le_bytes(), &5_u32.to_le_bytes()]);
    for word in [0, BASE, BASE, size, size, 0x1_0000] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(&code);
    file.extend_from_slice(greeting.as_bytes());
    file
}

fn put(file: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        file.extend_from_slice(part);
    }
}

fn amd64(length: u32) -> Vec<u8> {
    let mut code = Vec::new();
    put(
        &mut code,
        &[
            &[0xb8, 1, 0, 0, 0],              // mov eax, 1 (write)
            &[0xbf, 1, 0, 0, 0],              // mov edi, 1 (standard output)
            &[0x48, 0x8d, 0x35, 16, 0, 0, 0], // lea rsi, [rip + 16]: the greeting, behind the code
            &[0xba],                          // mov edx, length
            &length.to_le_bytes(),
            &[0x0f, 0x05],        // syscall
            &[0xb8, 60, 0, 0, 0], // mov eax, 60 (exit)
            &[0x31, 0xff],        // xor edi, edi
            &[0x0f, 0x05],        // syscall
        ],
    );
    code
}

fn arm64(length: u32) -> Vec<u8> {
    let movz = |register: u32, value: u32| 0xd280_0000 | (value & 0xffff) << 5 | register;
    let adr = |register: u32, words: u32| 0x1000_0000 | words << 5 | register;
    let svc = 0xd400_0001_u32;
    let code = [
        movz(8, 64), // write
        movz(0, 1),  // standard output
        adr(1, 6),   // the greeting, six instructions on
        movz(2, length),
        svc,
        movz(8, 93), // exit
        movz(0, 0),
        svc,
    ];
    code.iter().flat_map(|instruction| instruction.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    fn the_program_prints_its_greeting_and_succeeds() {
        runs(Machine::Amd64);
    }

    #[test]
    #[cfg(all(target_os = "linux", target_arch = "aarch64"))]
    fn the_program_prints_its_greeting_and_succeeds() {
        runs(Machine::Arm64);
    }

    fn runs(machine: Machine) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("hello");
        std::fs::write(&path, program(machine, "hello there\n")).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
        let output = std::process::Command::new(&path).output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stdout, b"hello there\n");
    }

    #[test]
    fn the_arm64_instructions_are_those_of_the_manual() {
        let code = arm64(12);
        let words: Vec<u32> =
            code.chunks(4).map(|word| u32::from_le_bytes(word.try_into().expect("four bytes"))).collect();
        // As `as` and `objdump` print them: mov x8, #64; mov x0, #1; adr x1, .+24; mov x2, #12; svc #0; …
        let expected = [
            0xd280_0808,
            0xd280_0020,
            0x1000_00c1,
            0xd280_0182,
            0xd400_0001,
            0xd280_0ba8,
            0xd280_0000,
            0xd400_0001,
        ];
        assert_eq!(words, expected);
    }
}
