# Java servers for tests: the programs from the Maven registry, and the process of one server. Sourced, not run.
#
# In:  a pom beside this file, a folder for one server (its `pid`, `port`, `log` and data live there).
# Out: jars in the cache, a process that stands by itself.
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

# jars NAME [CLASS]: prints the folder with the jars of NAME.pom.xml and with CLASS.java compiled; makes it when it
# is not there. What an interrupted run has fetched stays in Maven's own store, so that the next one goes on; the
# folder appears when it is whole.
jars() {
    local name=$1 class=${2:-} pom="$here/$1.pom.xml" version folder
    version=$(sed -n 's:^  <version>\(.*\)</version>:\1:p' "$pom")
    folder="$cache/$name-$version-$(cat "$pom" ${class:+"$here/$class.java"} | cksum | cut -d' ' -f1)"
    need java default-jre-headless
    if [ ! -d "$folder" ]; then
        need mvn maven
        [ -z "$class" ] || need javac default-jdk-headless
        mkdir -p "$cache"
        (
            flock 9
            [ -d "$folder" ] && exit
            say "fetching $name $version"
            part="$folder.part"
            rm -rf "$part"
            if ! mvn -B -q -ntp -f "$pom" dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$part" >"$cache/$name.log" 2>&1; then
                say "$name $version cannot be fetched from the Maven registry; what it said:"
                tail -n 5 "$cache/$name.log" >&2
                exit $NO_REGISTRY
            fi
            [ -z "$class" ] || javac -nowarn -proc:none -cp "$part/*" -d "$part" "$here/$class.java" 2>"$cache/$name.log" || { cat "$cache/$name.log" >&2; exit 1; }
            mv "$part" "$folder"
        ) 9>"$cache/lock" || exit $?
    fi
    echo "$folder"
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
    local pid
    pid=$(cat "$1/pid" 2>/dev/null) || return 1
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF -- "-Dmozdef.folder=$1" || return 1
    grep -q '^State:[[:space:]]*Z' "/proc/$pid/status" 2>/dev/null && return 1
    echo "$pid"
}

# launch FOLDER JAVA-ARGUMENT…: starts java detached, output to FOLDER/log.
launch() {
    local folder=$1
    shift
    setsid java "-Dmozdef.folder=$folder" "$@" </dev/null >>"$folder/log" 2>&1 9>&- &
    echo $! >"$folder/pid"
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
