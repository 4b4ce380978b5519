# What the servers for tests have in common: packages, ports, and the process of one server. Sourced, not run.
#
# In:  a folder for one server (its `pid`, `port`, `log` and data live there).
# Out: a process that stands by itself.
# Never: a process ended that is not the folder's own.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/mozdef/servers"

# Exit code for "the registry does not answer", told apart from a server that does not start.
NO_REGISTRY=75

say() { echo "$*" >&2; }
die() { say "$(basename "$0"): $*"; exit 1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# Debian's packages, for the commands that are not there yet: need COMMAND PACKAGE …
need() {
    command -v "$1" >/dev/null && return
    as_root apt-get update -q >&2 && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${@:2}" >&2 ||
        { say "$1 is not here, and $2 cannot be installed"; exit $NO_REGISTRY; }
}

# True when something listens on 127.0.0.1:PORT.
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A port that nobody listens on, below the range that the kernel gives to clients.
free_port() {
    local port
    for _ in $(seq 50); do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        listens "$port" || { echo "$port"; return; }
    done
    die "no free port found"
}

# Prints the folder's process when it lives and is the folder's own.
alive() {
    local pid try own=""
    pid=$(cat "$1/pid" 2>/dev/null) || return 1
    # A process that is just becoming another program has no environment for a moment, and is none the less alive.
    for try in $(seq 20); do
        [ -d "/proc/$pid" ] || return 1
        grep -q '^State:[[:space:]]*Z' "/proc/$pid/status" 2>/dev/null && return 1
        own=$(tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ") || true
        [ -z "$own" ] || break
        sleep 0.05
    done
    grep -qxF -- "MOZDEF_SERVER_FOLDER=$1" <<<"$own" || return 1
    echo "$pid"
}

# launch FOLDER COMMAND ARGUMENT…: starts a program detached, output to FOLDER/log.
launch() {
    local folder=$1
    shift
    MOZDEF_SERVER_FOLDER="$folder" setsid "$@" </dev/null >>"$folder/log" 2>&1 9>&- &
    echo $! >"$folder/pid"
    # Until it is the program, and no longer the shell that starts it.
    local try
    for try in $(seq 200); do
        alive "$folder" >/dev/null && return
        sleep 0.05
    done
}

# certificates FOLDER: an authority, and certificates of a server and a client, in FOLDER/tls.
certificates() {
    local dir="$1/tls" name
    [ -f "$dir/done" ] && return
    need openssl openssl
    mkdir -p "$dir"
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=test CA" -keyout "$dir/ca.key" -out "$dir/ca.pem" 2>/dev/null
    for name in broker client; do
        openssl req -newkey rsa:2048 -nodes -subj "/CN=$name" -keyout "$dir/$name.key" -out "$dir/$name.csr" 2>/dev/null
        openssl x509 -req -in "$dir/$name.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial -days 30 \
            -extfile <(echo "subjectAltName=IP:127.0.0.1,DNS:localhost") -out "$dir/$name.pem" 2>/dev/null
    done
    cat "$dir/broker.key" "$dir/broker.pem" >"$dir/broker.store"
    touch "$dir/done"
}

# await FOLDER SECONDS COMMAND…: until COMMAND succeeds. Fails when the process ends or the time is over.
await() {
    local folder=$1 end=$((SECONDS + $2))
    shift 2
    until "$@"; do
        alive "$folder" >/dev/null || { say "the server ended; the last of $folder/log:"; tail -n 20 "$folder/log" >&2; return 1; }
        [ $SECONDS -lt $end ] || { say "no answer in time; the last of $folder/log:"; tail -n 20 "$folder/log" >&2; return 1; }
        sleep 0.1
    done
}

# end SIGNAL FOLDER: signals the folder's process and returns when it is gone.
end() {
    local pid
    pid=$(alive "$2") || return 0
    kill "-$1" "$pid"
    for _ in $(seq 600); do
        alive "$2" >/dev/null || return 0
        sleep 0.1
    done
    say "$pid does not end on $1; killing it"
    kill -KILL "$pid"
}
