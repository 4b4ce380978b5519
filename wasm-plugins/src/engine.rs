//! The engine that all plugins of a process share, and the clock that interrupts them.
//!
//! In: nothing. Out: one engine, with interruption, small stacks and pooled instances. Never: a call without a
//! deadline; code is compiled so that it looks at the clock by itself.

use std::sync::OnceLock;
use std::time::Duration;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

/// Time between two looks at the clock.
pub(crate) const TICK: Duration = Duration::from_millis(10);
/// Stack of a plugin, in bytes.
const STACK_BYTES: usize = 512 << 10;
/// Instances of plugins at once, in one process.
const INSTANCES_MAX: u32 = 400;
/// Largest memory that the pool gives; limits of plugins are below it.
pub(crate) const MEMORY_BYTES_MAX: usize = 1 << 30;

/// The engine of this process, made at the first call.
///
/// # Errors
/// When the machine cannot give what an engine needs.
pub(crate) fn engine() -> Result<&'static Engine, String> {
    static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();
    ENGINE.get_or_init(|| make().map_err(|error| format!("{error:#}"))).as_ref().map_err(Clone::clone)
}

fn make() -> wasmtime::Result<Engine> {
    let engine = match Engine::new(&settings(true)?) {
        Ok(engine) => engine,
        Err(error) => {
            // The pool reserves addresses, which a limit on them (ulimit -v) may refuse.
            tracing::warn!("no pool for instances of plugins, they are made one by one: {error:#}");
            Engine::new(&settings(false)?)?
        }
    };
    let weak = engine.weak();
    std::thread::Builder::new().name("plugin-clock".to_owned()).spawn(move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    })?;
    Ok(engine)
}

fn settings(pooled: bool) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config.wasm_component_model(true);
    config.epoch_interruption(true);
    config.max_wasm_stack(STACK_BYTES);
    config.cranelift_opt_level(OptLevel::Speed);
    if pooled {
        let mut pool = PoolingAllocationConfig::new();
        // A component of Python consists of about 107 core instances.
        pool.total_component_instances(INSTANCES_MAX);
        pool.max_core_instances_per_component(200);
        pool.max_tables_per_component(200);
        pool.max_memories_per_component(4);
        pool.total_core_instances(INSTANCES_MAX.saturating_mul(50));
        pool.total_memories(INSTANCES_MAX);
        pool.total_tables(INSTANCES_MAX.saturating_mul(10));
        pool.table_elements(20_000);
        pool.max_memory_size(MEMORY_BYTES_MAX);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    Ok(config)
}

/// Ticks after which a call that begins now has had its time.
pub(crate) fn ticks(deadline: Duration) -> u64 {
    let ticks = deadline.as_millis().div_ceil(TICK.as_millis());
    // The tick under way may end at once.
    u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(1)
}
