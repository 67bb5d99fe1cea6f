<%@ page contentType="application/octet-stream" trimDirectiveWhitespaces="true" %><%
java.security.MessageDigest md = java.security.MessageDigest.getInstance("MD5");
byte[] piece = new byte[65536]; long n = 0; int read;
while ((read = request.getInputStream().read(piece)) > 0) { md.update(piece, 0, read); n += read; }
out.print(n + " " + java.util.HexFormat.of().formatHex(md.digest()));
%>
