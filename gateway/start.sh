#!/bin/sh
# Starts the gateway, in a container or by hand: fills in the template and executes Nginx, which writes below folder $1.
set -e
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:-/tmp/gateway}/conf.d"
folder=$(cd "${1:-/tmp/gateway}" && pwd)
. "$here/settings.envsh"
cp "$here/nginx.conf" "$folder/"
# shellcheck disable=SC2016  # envsubst needs the names
envsubst "$(env | sed -n 's/^\(GATEWAY_[A-Z_]*\)=.*/${\1}/p' | tr '\n' ' ')" \
    <"$here/templates/tmservice.conf.template" >"$folder/conf.d/tmservice.conf"
exec nginx -p "$folder/" -c "$folder/nginx.conf" -e stderr -g "daemon off;"
