#!/bin/sh
# What udhcpc does with a lease: address, MTU, router, name servers, domain.
# See the variables' names in busybox's udhcp documentation.
case $1 in
  deconfig)
    ip -4 addr flush dev "$interface"
    ip link set "$interface" up
    ;;
  bound | renew)
    ip -4 addr flush dev "$interface"
    # 68 is the least IPv4 allows (RFC 791); the driver refuses what it cannot do.
    if [ -n "$mtu" ] && [ "$mtu" -ge 68 ]; then ip link set "$interface" mtu "$mtu"; fi
    ip -4 addr add "$ip/${mask:-24}" dev "$interface"
    for address in $router; do
      ip route replace default via "$address" dev "$interface"
      break
    done
    {
      [ -z "$domain" ] || echo "search $domain"
      for address in $dns; do echo "nameserver $address"; done
    } > /etc/resolv.conf
    [ -z "$hostname" ] || hostname "$hostname"
    echo "lease: $ip/${mask:-24} router ${router:-none} dns ${dns:-none} mtu ${mtu:-none} domain ${domain:-none}"
    ;;
esac
