#!/bin/sh
# The user and the folder of the data; nothing is started that the administrator did not ask for.
set -e
if command -v systemd-sysusers >/dev/null 2>&1; then
    systemd-sysusers etcd.conf
    systemd-tmpfiles --create etcd.conf || true
elif ! id etcd >/dev/null 2>&1; then
    if command -v useradd >/dev/null 2>&1; then
        useradd --system --user-group --home-dir /var/lib/etcd --shell /usr/sbin/nologin etcd
    else
        addgroup -S etcd
        adduser -S -D -H -h /var/lib/etcd -s /sbin/nologin -G etcd etcd
    fi
fi
mkdir -p /var/lib/etcd
chown etcd:etcd /var/lib/etcd
chmod 0700 /var/lib/etcd
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl try-restart etcd.service || true
fi
