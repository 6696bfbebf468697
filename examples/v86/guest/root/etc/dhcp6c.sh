#!/bin/sh
# What dhcp6c does with what it was told, besides the address, which it adds itself.
{
  [ -z "$new_domain_name" ] || echo "search ${new_domain_name%.}"
  for address in $new_domain_name_servers; do echo "nameserver $address"; done
} > /etc/resolv.conf
