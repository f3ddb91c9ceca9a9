# Completion of swarmctl for bash: `make install` puts it where bash-completion looks for it; without
# that, source it. What there is to choose from says `swarmctl __complete`.

_swarmctl() {
        local line=${COMP_LINE:0:COMP_POINT} words word typed breaks=${COMP_WORDBREAKS//[^=:]/}
        read -ra words <<<"$line"
        [[ $line == *[[:space:]] ]] && words+=("")
        typed=${words[-1]}
        COMPREPLY=()
        while IFS= read -r word; do
                [[ $word == *= ]] && compopt -o nospace 2>/dev/null
                # Of a word with such a character in it bash completes what stands after the last one.
                [[ $breaks && $typed == *[$breaks]* ]] && word=${word#"${typed%"${typed##*[$breaks]}"}"}
                COMPREPLY+=("$word")
        done < <(timeout 3 "${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
}
complete -o default -F _swarmctl swarmctl
