#!/bin/sh
# Routes requests for a host to the given addresses only, or without any to all addresses of the name:
#   route.sh HOST [ADDRESS ...]
# The backup of each upstream keeps the name, so that there are servers while Nginx resolves it after a reload.
set -e
host=$1
shift
rendered=/tmp/gateway/conf.d/tmservice.conf
original=/tmp/gateway/tmservice.conf.original
[ -e $original ] || cp $rendered $original
awk -v host="$host" -v list="$*" '
    BEGIN { count = split(list, addresses, " ") }
    count && $1 == "server" && index($2, host ":") == 1 && $3 == "resolve" && !/ backup;/ {
        for (i = 1; i <= count; i++) {
            line = $0
            sub(host, addresses[i], line)
            sub(" resolve", "", line)
            print line
        }
        next
    }
    { print }
' $original >$rendered.new
mv $rendered.new $rendered
exec nginx -p /tmp/gateway/ -c /tmp/gateway/nginx.conf -e stderr -s reload
