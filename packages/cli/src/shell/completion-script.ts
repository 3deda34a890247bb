const SCRIPTS = {
  bash: `# trine: source <(trine completion bash)
_trine() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do
    if [[ $line == :files ]]; then
      compopt -o default
      return
    fi
    COMPREPLY+=("\${line%%$'\\t'*}")
  done < <(command trine __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _trine trine
`,
  zsh: `#compdef trine
_trine() {
  local line
  local -a found
  for line in "\${(@f)$(command trine __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    if [[ $line == :files ]]; then
      _files
      return
    fi
    [[ -n $line ]] || continue
    found+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done
  _describe trine found
}
if [[ $funcstack[1] == _trine ]]; then _trine "$@"; else compdef _trine trine; fi
`,
  fish: `# trine: trine completion fish > ~/.config/fish/completions/trine.fish
function __trine_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l found (command trine __complete -- $words[2..-1] 2>/dev/null)
  if test "$found[1]" = :files
    __fish_complete_path (commandline -ct)
  else
    printf '%s\\n' $found
  end
end
complete -c trine -f -a '(__trine_complete)'
`,
} as const;

/**
 * Each asks the program itself, so what it offers is what the program has; by its name, for the first word of the
 * line may be any file.
 */
export function completionScript(shell: keyof typeof SCRIPTS): string {
  return SCRIPTS[shell];
}
