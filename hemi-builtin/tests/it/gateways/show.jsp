<%@ page contentType="text/plain; charset=UTF-8" %><%
session.setAttribute("n", session.getAttribute("n") == null ? 1 : (Integer) session.getAttribute("n") + 1);
for (String line : new String[] {
    "method=" + request.getMethod(), "uri=" + request.getRequestURI(), "query=" + request.getQueryString(),
    "host=" + request.getHeader("host"), "server=" + request.getServerName() + ":" + request.getServerPort(),
    "remote=" + request.getRemoteAddr(), "secure=" + request.isSecure(), "x-a=" + java.util.Collections.list(request.getHeaders("x-a")),
    "realm=" + request.getAttribute("REALM"), "user=" + request.getRemoteUser(), "p=" + request.getParameter("p"),
    "count=" + session.getAttribute("n") }) out.println(line);
%>
