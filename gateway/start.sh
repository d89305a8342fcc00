#!/bin/sh
# Starts Nginx in a container: fills in the template and becomes Nginx.
set -e
. /gateway/settings.envsh
mkdir -p /tmp/gateway/conf.d
cp /gateway/nginx.conf /tmp/gateway/
# shellcheck disable=SC2016  # the names are meant
envsubst "$(env | sed -n 's/^\(GATEWAY_[A-Z_]*\)=.*/${\1}/p' | tr '\n' ' ')" \
    </gateway/tmservice.conf.template >/tmp/gateway/conf.d/tmservice.conf
exec nginx -p /tmp/gateway/ -c /tmp/gateway/nginx.conf -e stderr -g "daemon off;"
