# Java servers for tests: the programs from the Maven registry. Sourced, not run.
#
# In:  a pom beside this file.
# Out: jars in the cache.

. "$(dirname "${BASH_SOURCE[0]}")/server.sh"

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
