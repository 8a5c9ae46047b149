# A server that speaks MCP over its standard input and output, as far as tests need one. It writes down every line it gets.
# What a tool does is in its name. Tests tell its processes apart by their numbers.
[ -z "$HOLD" ] || trap '' TERM
say() { printf '%s\n' "$1"; }
text() { say "{\"jsonrpc\":\"2.0\",\"id\":$1,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"$2\"}]}}"; }
while IFS= read -r line; do
    printf '%s %s\n' "$$" "$line" >>heard.txt
    id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
    word=$(printf '%s' "$line" | sed -n 's/.*"word":"\([a-z0-9-]*\)".*/\1/p')
    case $line in
    *'"method":"initialize"'*)
        say "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{\"tools\":{}},\"serverInfo\":{\"name\":\"sh\",\"version\":\"1\"}}}" ;;
    *'"method":"tools/list"'*)
        say "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{\"resultType\":\"complete\",\"ttlMs\":60000,\"cacheScope\":\"private\",\"tools\":[]}}" ;;
    *'"name":"echo"'*) text "$id" "$$ $word" ;;
    *'"name":"die"'*) exit 3 ;;
    *'"name":"hang"'*) late=$id ;;
    *'"name":"late"'*) text "$late" late; text "$id" "$$ on time" ;;
    *'"name":"unasked"'*) text 900001 stolen; text "$id" "$$ $word" ;;
    *'"name":"junk"'*) say 'Listening on stdio'; say '{"jsonrpc":"1.0"}'; say '[]'; text "$id" "$$ $word" ;;
    *'"name":"flood"'*) while :; do say 'Listening on stdio'; done ;;
    *'"name":"endless"'*) head -c 17000000 /dev/zero | tr '\0' a; exec sleep 1000 ;;
    *'"name":"chatter"'*)
        token=$(printf '%s' "$line" | sed -n 's/.*"progressToken":\([0-9]*\).*/\1/p')
        for at in $(seq 20000); do
            say "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":$token,\"progress\":$at}}"
        done
        text "$id" "$$ $word" ;;
    *'"name":"perish"'*)
        token=$(printf '%s' "$line" | sed -n 's/.*"progressToken":\([0-9]*\).*/\1/p')
        say "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":$token,\"progress\":1}}"
        kill -9 $$ ;;
    *'"name":"deaf"'*) exec sleep 1000 ;;
    *'"name":"progress"'*)
        token=$(printf '%s' "$line" | sed -n 's/.*"progressToken":\([0-9]*\).*/\1/p')
        say "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":$token,\"progress\":1}}"
        say "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":900001,\"progress\":1}}"
        text "$id" "$$ $word" ;;
    *'"name":"ask"'*)
        asked=$id
        say '{"jsonrpc":"2.0","id":"q1","method":"elicitation/create","params":{"message":"sure?","requestedSchema":{"type":"object","properties":{}}}}' ;;
    *'"id":"q1"'*) text "$asked" "$(printf '%s' "$line" | sed -n 's/.*"action":"\([a-z]*\)".*/\1/p')" ;;
    *'"name":"environment"'*) text "$id" "$(env | sed 's/=.*//' | sort | tr '\n' ' ')" ;;
    *'"name":"start"'*) sleep 1000 </dev/null >/dev/null 2>&1 & text "$id" "$!" ;;
    *'"name":"detach"'*)
        started=$(trap '' TERM HUP; setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $!)
        text "$id" "$started" ;;
    *'"name":"who"'*) text "$id" "$(id -u) $(id -G) $(cat secret.txt 2>/dev/null || echo closed)" ;;
    *'"name":"mutter"'*) echo "mail ana@example.com" >&2; text "$id" "$$ $word" ;;
    esac
done
[ -z "$LINGER" ] || { sleep 0.5; printf '%s bye\n' "$$" >>heard.txt; }
[ -z "$HOLD" ] || exec sleep 1000
