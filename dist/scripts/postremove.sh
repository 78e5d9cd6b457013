#!/bin/sh
# Data is the administrator's: it goes on purge only, and the user with it.
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
if [ "${1:-}" = "purge" ]; then
    rm -rf /var/lib/etcd
    rmdir /etc/etcd 2>/dev/null || true
    if id etcd >/dev/null 2>&1 && command -v userdel >/dev/null 2>&1; then
        userdel etcd
    fi
fi
