//! What guests of Python ask of a system before they do anything: an empty one.
//!
//! In: a component's imports. Out: clocks that show the receipt of the event in hand, chance, an empty environment;
//! everything else of WASI is a trap. Never: files, sockets, processes, or the machine's time.

use wasmtime::StoreContextMut;
use wasmtime::component::{Component, Linker, LinkerInstance, Resource, ResourceType};

use crate::host::State;

/// Most random bytes at once.
const RANDOM_BYTES_MAX: u64 = 1 << 16;

/// A file or folder: there are none.
struct Descriptor;

/// Defines what a component imports of WASI.
pub(crate) fn define(
    linker: &mut Linker<State>,
    component: &Component,
    imports: &[String],
) -> wasmtime::Result<()> {
    let of_wasi = imports.iter().filter(|name| name.starts_with("wasi:"));
    let mut any = false;
    for name in of_wasi {
        any = true;
        let interface = name.split('@').next().unwrap_or_default();
        let mut instance = linker.instance(name)?;
        match interface {
            "wasi:clocks/wall-clock" => wall_clock(&mut instance)?,
            "wasi:clocks/monotonic-clock" => {
                instance.func_wrap("now", |store: StoreContextMut<'_, State>, (): ()| {
                    Ok((nanoseconds(&store),))
                })?;
            }
            "wasi:random/random" => random(&mut instance)?,
            "wasi:random/insecure-seed" => {
                instance.func_wrap("insecure-seed", |mut store: StoreContextMut<'_, State>, (): ()| {
                    Ok(((number(&mut store), number(&mut store)),))
                })?;
            }
            "wasi:cli/environment" => environment(&mut instance)?,
            "wasi:filesystem/types" => descriptor(&mut instance)?,
            "wasi:filesystem/preopens" => {
                descriptor(&mut instance)?;
                instance.func_wrap("get-directories", |_: StoreContextMut<'_, State>, (): ()| {
                    Ok((Vec::<(Resource<Descriptor>, String)>::new(),))
                })?;
            }
            _ => {}
        }
    }
    if any { linker.define_unknown_imports_as_traps(component) } else { Ok(()) }
}

/// The type that both interfaces speak of.
fn descriptor(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    instance.resource("descriptor", ResourceType::host::<Descriptor>(), |_, _| Ok(()))
}

fn wall_clock(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    #[derive(wasmtime::component::ComponentType, wasmtime::component::Lower)]
    #[component(record)]
    struct Datetime {
        seconds: u64,
        nanoseconds: u32,
    }
    instance.func_wrap("now", |store: StoreContextMut<'_, State>, (): ()| {
        let ms = u64::try_from(store.data().now_ms).unwrap_or_default();
        let nanoseconds = u32::try_from(ms % 1000).unwrap_or_default().saturating_mul(1_000_000);
        Ok((Datetime { seconds: ms / 1000, nanoseconds },))
    })
}

fn random(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    instance.func_wrap("get-random-bytes", |mut store: StoreContextMut<'_, State>, (count,): (u64,)| {
        let count = count.min(RANDOM_BYTES_MAX);
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < count {
            bytes.extend_from_slice(&number(&mut store).to_le_bytes());
        }
        bytes.truncate(usize::try_from(count).unwrap_or_default());
        Ok((bytes,))
    })?;
    instance.func_wrap("get-random-u64", |mut store: StoreContextMut<'_, State>, (): ()| {
        Ok((number(&mut store),))
    })
}

fn environment(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    instance.func_wrap("get-environment", |_: StoreContextMut<'_, State>, (): ()| {
        Ok((Vec::<(String, String)>::new(),))
    })?;
    instance
        .func_wrap("get-arguments", |_: StoreContextMut<'_, State>, (): ()| Ok((Vec::<String>::new(),)))?;
    instance.func_wrap("initial-cwd", |_: StoreContextMut<'_, State>, (): ()| Ok((None::<String>,)))
}

fn nanoseconds(store: &StoreContextMut<'_, State>) -> u64 {
    u64::try_from(store.data().now_ms).unwrap_or_default().saturating_mul(1_000_000)
}

/// The next number that nobody can tell from the last.
fn number(store: &mut StoreContextMut<'_, State>) -> u64 {
    let (seed, count) = store.data().chance;
    store.data_mut().chance.1 = count.wrapping_add(1);
    let mut input = seed.to_le_bytes().to_vec();
    input.extend_from_slice(&count.to_le_bytes());
    let mut number = [0; 8];
    blake3::Hasher::new().update(&input).finalize_xof().fill(&mut number);
    u64::from_le_bytes(number)
}
