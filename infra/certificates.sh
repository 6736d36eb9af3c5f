#!/bin/sh
# An authority of your own, and a key for each of the three roles, signed by it: certificates.sh FOLDER
set -eu
umask 077
mkdir -p "$1"
cd "$1"
test ! -e ca.pem || { echo "$1 holds certificates already; nothing was changed" >&2; exit 2; }
openssl req -x509 -newkey rsa:3072 -nodes -days 365 -subj /CN=cellpainting -keyout ca-key.pem -out ca.pem 2>/dev/null
for role in scheduler worker client; do
  openssl req -newkey rsa:3072 -nodes -subj "/CN=$role" -keyout "$role-key.pem" -out "$role.csr" 2>/dev/null
  openssl x509 -req -days 365 -in "$role.csr" -CA ca.pem -CAkey ca-key.pem -CAcreateserial -out "$role.pem" 2>/dev/null
  rm "$role.csr"
done
rm -f ca.srl
echo "Made in $1, for a year. Keep ca-key.pem to yourself; scheduler, workers and you need ca.pem and their own two files."
