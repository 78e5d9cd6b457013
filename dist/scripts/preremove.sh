#!/bin/sh
# Only when it really goes: deb says "remove", rpm 0, apk nothing. An upgrade leaves the member running until the new one restarts it.
set -e
case "${1:-0}" in
remove | 0)
    if [ -d /run/systemd/system ]; then
        systemctl disable --now etcd.service || true
    fi
    ;;
esac
